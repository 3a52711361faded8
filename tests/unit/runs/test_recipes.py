"""Recipes of presets, files and runs."""

import contextlib
import os
from pathlib import Path

import pytest

from clearhead.config import read_toml
from clearhead.errors import ModelError, UsageError
from clearhead.runs.recipes import check_beside, load_recipe, preset_names, presets_folder, read_recipe, save_recipe
from clearhead.version import VERSION


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


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_leaves_its_own_sizes_to_the_model_that_training_starts_from(name: str) -> None:
    """Those that follow from them too, such as the longest text; what is set or written beside it stays."""
    whole, found = read_recipe(name), read_recipe(name, ["start='run'"])
    assert "tokenizer" not in found
    assert "max_len" not in found.get("data", {})
    assert not {"d_model", "max_seq_len", "n_layers", "tie"} & found["model"].keys()
    assert {key: value for key, value in whole.get("data", {}).items() if key != "max_len"} == found.get("data", {})
    for table in ("train", "optim", "loss", "finetune"):
        assert found.get(table) == whole.get(table)
    assert read_recipe(name, start="run") == found, "a run that goes on has its start from before"
    assert read_recipe(name, ["start='run'", "data.max_len=40"])["data"]["max_len"] == 40


def test_what_is_no_run_is_said_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "toy-001").mkdir()
    with pytest.raises(ModelError, match=r"is not a run directory: it has no recipe\.toml"):
        load_recipe(tmp_path / "toy-001")
    (tmp_path / "seeds" / "seed-0").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"seeds' is a folder of runs, and this takes one of them: seed-0$"):
        load_recipe(tmp_path / "seeds")
    save_recipe(tmp_path / "toy-001", {})
    with pytest.raises(ModelError, match="no such directory; did you mean 'toy-001'"):
        load_recipe(tmp_path / "toy-01")
    (tmp_path / "toy-001" / "recipe.toml").write_text("x =")
    with pytest.raises((ModelError, UsageError), match=r"recipe\.toml' is not valid TOML"):
        load_recipe(tmp_path / "toy-001")


@pytest.mark.long
def test_a_flipped_bit_of_a_recipe_is_seen_and_an_edit_is_told_what_to_do(tmp_path: Path) -> None:
    run, tree = tmp_path / "run", {"name": "x", "train": {"lr": 0.125}}
    (run / "checkpoints" / "step-00000005").mkdir(parents=True)
    save_recipe(run, tree, {"labels.json": b"[]"})
    path, copy = run / "recipe.toml", run / "checkpoints" / "step-00000005" / "recipe.toml"
    whole = path.read_bytes()
    copy.write_bytes(whole)
    assert load_recipe(run) == {"clearhead": VERSION, **tree}
    path.write_bytes(whole.replace(b"\n", b"\r\n"))  # as some editors and version control do
    assert load_recipe(run)["train"] == tree["train"]
    for place in range(8 * len(whole)):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        with contextlib.suppress(ModelError, UsageError):
            assert load_recipe(run) == {"clearhead": VERSION, **tree}
    path.write_bytes(whole.replace(b"0.125", b"0.25"))
    with pytest.raises(ModelError, match="is not as clearhead wrote it") as caught:
        load_recipe(run)
    assert str(caught.value).endswith(
        f"if you have edited it, delete its line '# SHA-256 recipe.toml ...', otherwise it is damaged; "
        f"{str(copy)!r} is a copy of it"
    )
    kept = [line for line in path.read_text().splitlines() if not line.startswith("# SHA-256 recipe.toml")]
    path.write_text("\n".join(kept))
    assert load_recipe(run)["train"] == {"lr": 0.25}


def test_what_is_beside_a_recipe_is_checked_too(tmp_path: Path) -> None:
    save_recipe(tmp_path, {}, {"tokenizer/text.json": b"{}", "labels.json": b"[]"})
    check_beside(tmp_path)  # what is missing is said where it is read
    (tmp_path / "labels.json").write_bytes(b"[]")
    check_beside(tmp_path)
    (tmp_path / "labels.json").write_bytes(b"[}")
    copy = tmp_path / "checkpoints" / "step-00000001" / "labels.json"
    copy.parent.mkdir(parents=True)
    for content, offered in ((b"[]", f"; {str(copy)!r} is a copy of it"), (b"()", "")):
        copy.write_bytes(content)
        with pytest.raises(
            ModelError, match=r"labels\.json' does not match the checksum in '.*recipe\.toml'"
        ) as caught:
            check_beside(tmp_path)
        assert str(caught.value).endswith(f": damaged{offered}")


def test_a_recipe_of_any_size_is_one_line(tmp_path: Path) -> None:
    save_recipe(tmp_path, {})
    os.truncate(tmp_path / "recipe.toml", 3 << 30)
    with pytest.raises(ModelError, match=r"recipe\.toml' is damaged: more than"):
        load_recipe(tmp_path)
    with pytest.raises(ModelError, match="no such directory"):
        load_recipe(tmp_path / ("x" * 5000))
