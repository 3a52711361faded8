"""``clearhead lesson``: the list with what was taken, a lesson in three forms, and clear words for what cannot be."""

import json
from pathlib import Path

import pytest

from tests.toy import assert_one_line, clearhead

Capture = pytest.CaptureFixture[str]

QUICK = ("--set", "steps=1", "--set", "d_k=8,512")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def test_the_list_marks_what_was_taken(capsys: Capture) -> None:
    before = clearhead(capsys, "lesson").out
    assert "    scale " in before
    done = clearhead(capsys, "lesson", "scale", *QUICK)
    assert "Why scores are divided" in done.out
    after = clearhead(capsys, "lesson").out
    assert "  * scale " in after
    listed = json.loads(clearhead(capsys, "lesson", "--json").out)
    assert [each["lesson"] for each in listed if each["taken"]] == ["scale"]
    assert "注意力" in clearhead(capsys, "lesson", "--lang", "zh").out


def test_a_lesson_as_a_page_a_notebook_and_json(tmp_path: Path, capsys: Capture) -> None:
    done = clearhead(
        capsys, "lesson", "scale", *QUICK, "--html", "scale.html", "--notebook", "scale.ipynb", "--lang", "zh"
    )
    assert done.out.split() == ["scale.html", "scale.ipynb"]
    assert "为什么要除以" in (tmp_path / "scale.html").read_text(encoding="utf-8")
    cells = json.loads((tmp_path / "scale.ipynb").read_text(encoding="utf-8"))["cells"]
    assert "clearhead.lesson('scale', language='zh'" in cells[1]["source"]
    tree = json.loads(clearhead(capsys, "lesson", "scale", *QUICK, "--json", "--guess", "7").out)
    assert tree["measured"]["keys"] == 64


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["scail"], "lesson 'scail': unknown; did you mean 'scale'?"),
        (["scale", "--set", "d_k=0"], "lesson 'scale': d_k = '0': must be a whole number from 1 to 4096"),
        (["scale", "--set", "d_k=x"], "lesson 'scale': d_k = 'x': must be a whole number from 1 to 4096"),
        (["scale", "--set", "size=1"], "--set 'size=1': lesson 'scale' has the knobs d_k, keys, steps, seed"),
        (["scale", "--set", "d_k"], "--set 'd_k': lesson 'scale' has the knobs"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], rule: str, capsys: Capture) -> None:
    said = clearhead(capsys, "lesson", *words)
    assert_one_line(said, 2, rule)
    assert said.out == ""
