"""Recipes of presets, files and runs."""

from pathlib import Path

import pytest

from clearhead.config import read_toml
from clearhead.errors import ModelError, UsageError
from clearhead.runs.recipes import load_recipe, preset_names, presets_folder, read_recipe, save_recipe


def test_a_preset_is_found_by_name_and_a_file_by_path(tmp_path: Path) -> None:
    assert {"demo", "translate-tiny"} <= set(preset_names())
    demo = read_toml(presets_folder() / "demo.toml")
    found = read_recipe("demo", ["train.lr=0.5", "new.key=x"])
    assert found["train"] == {**demo["train"], "lr": 0.5}
    assert (found["name"], found["new"]) == ("demo", {"key": "x"})
    (tmp_path / "mine.toml").write_text("[train]\nlr = 1\n")
    assert read_recipe(tmp_path / "mine.toml") == {"name": "mine", "train": {"lr": 1}}
    with pytest.raises(UsageError, match="recipe 'dmo': neither a file nor a preset; did you mean 'demo'"):
        read_recipe("dmo")


def test_what_is_no_run_is_said_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "toy-001").mkdir()
    with pytest.raises(ModelError, match=r"is not a run directory: it has no recipe\.toml"):
        load_recipe(tmp_path / "toy-001")
    save_recipe(tmp_path / "toy-001", {})
    with pytest.raises(ModelError, match="no such directory; did you mean 'toy-001'"):
        load_recipe(tmp_path / "toy-01")
    (tmp_path / "toy-001" / "recipe.toml").write_text("x =")
    with pytest.raises((ModelError, UsageError), match=r"recipe\.toml' is not valid TOML"):
        load_recipe(tmp_path / "toy-001")
