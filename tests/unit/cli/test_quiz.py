"""``clearhead quiz``: asks, says why, remembers what to ask again; as JSON it asks nothing."""

import json
from pathlib import Path

import pytest

from clearhead.lessons.taken import to_repeat
from tests.toy import assert_one_line, clearhead

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path / "state"))


def answered(monkeypatch: pytest.MonkeyPatch, *letters: str) -> None:
    given = iter(letters)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: next(given))


def test_a_wrong_answer_is_asked_again(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = clearhead(capsys, "quiz", "training", "--questions", "1", "--seed", "3", "--json")
    question = json.loads(listed.out)
    right = question["right"]
    answered(monkeypatch, "abcd"[right - 1])
    said = clearhead(capsys, "quiz", "training", "--questions", "1", "--seed", "3")
    assert question["question"] in said.out
    assert f"No: {'abcd'[right]}) {question['choices'][right]}. {question['why']}" in said.out
    assert said.out.endswith("0/1\n")
    assert to_repeat() == [question["kind"]]
    answered(monkeypatch, "abcd"[right])
    again = clearhead(capsys, "quiz", "training", "--questions", "1", "--seed", "3", "--lang", "zh")
    assert "答对了" in again.out or "不对" in again.out


def test_json_asks_nothing(capsys: Capture) -> None:
    said = clearhead(capsys, "quiz", "--questions", "3", "--seed", "1", "--json", "--lang", "zh")
    assert [set(json.loads(line)) for line in said.out.splitlines()] == [
        {"kind", "question", "choices", "right", "why"}
    ] * 3


def test_nobody_there_ends_it(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("click.termui.visible_prompt_func", gone)
    said = clearhead(capsys, "quiz", "--questions", "2", "--seed", "1")
    assert said.out.endswith("0/2\n")


def test_an_unknown_theme_is_one_line(capsys: Capture) -> None:
    assert_one_line(clearhead(capsys, "quiz", "layer"), 2, "theme 'layer': unknown; did you mean 'layers'?")
