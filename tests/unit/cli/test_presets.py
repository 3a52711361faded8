"""``clearhead presets``: every recipe that comes along is listed and can be parsed."""

import json
from pathlib import Path

import pytest

from clearhead.config import merge
from clearhead.runs.recipes import preset_names, read_recipe
from clearhead.tasks.catalog import family_of_recipe, resolve
from tests.toy import assert_one_line, clearhead


def test_each_is_listed_with_its_size_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "presets")
    lines = [line for line in said.out.splitlines() if line and not line.startswith("files:")]
    listed = [line.split(maxsplit=1) for line in lines if not line.startswith(" ")]
    assert [line[0] for line in listed] == preset_names()
    assert all(len(line) == 2 for line in listed), "a preset without a line on what it is for"
    after = {name: lines[at + 1 : at + 5] for at, line in enumerate(lines) for name in line.split()[:1]}
    assert after["gpt-modern"][0].strip() == "can be exported to: hf, onnx, ctranslate2, gguf, file"
    assert after["demo"][:2] == [
        " " * 19 + line
        for line in (
            "can be exported to: hf, onnx, ctranslate2, file",
            "not to gguf: GGUF: llama.cpp has no such encoder-decoder; take --to ctranslate2",
        )
    ]
    assert after["ngram"][0].strip() == "can be exported to: none"
    assert "model.position = 'rotary'" in after["bert-mini"][1]
    assert after["gpt-finetune"][0].strip() == "can be exported as the run that it begins with"
    tree = json.loads(clearhead(capsys, "presets", "--json").out)
    assert list(tree["presets"]) == preset_names()


@pytest.mark.parametrize("name", ["demo", "translate-tiny"])
def test_one_is_printed_to_be_changed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "presets", name)
    assert (said.code, said.err) == (0, "")
    (tmp_path / f"{name}.toml").write_text(said.out, encoding="utf-8")
    assert read_recipe(tmp_path / f"{name}.toml") == read_recipe(name)
    assert json.loads(clearhead(capsys, "presets", name, "--json").out) == read_recipe(name)


def test_one_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "presets", "translate-tinny")
    assert_one_line(said, 2, "preset 'translate-tinny': there is none of that name; did you mean 'translate-tiny'?")
    assert_one_line(clearhead(capsys, "presets", "../presets/demo"), 2, "there is none of that name")


@pytest.mark.parametrize("name", preset_names())
def test_each_is_a_whole_recipe(name: str) -> None:
    tree = read_recipe(name)
    languages = {"src": "zh", "tgt": "en"} if family_of_recipe(tree, name).verb == "translate" else {}
    recipe = resolve(merge(languages, tree), name)
    assert recipe["about"]
    assert recipe["name"] == name
