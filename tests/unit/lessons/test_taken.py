"""What was taken is remembered among the user's own files, and nothing breaks where it cannot be."""

from pathlib import Path

import pytest

from clearhead.lessons.taken import mark, place, remember, taken, to_repeat


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_lessons_are_remembered_once() -> None:
    assert taken() == set()
    for name in ("scale", "masks", "scale"):
        mark(name)
    assert taken() == {"masks", "scale"}


@pytest.mark.parametrize("content", ["", "{", '{"taken": 1}', "[1, 2]", '{"taken": [1]}'])
def test_a_damaged_file_is_no_memory(content: str) -> None:
    place().parent.mkdir()
    place().write_text(content)
    assert taken() == set()
    mark("scale")
    assert taken() == {"scale"}


def test_a_folder_that_cannot_be_written_is_no_error(state: Path) -> None:
    state.write_text("a file where the folder would be")
    mark("scale")
    assert taken() == set()


def test_without_a_word_it_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEARHEAD_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert place() == tmp_path / "clearhead" / "lessons.json"


def test_what_was_wrong_is_asked_again_until_it_is_right() -> None:
    mark("scale")
    remember("which_copies", repeat=True)
    remember("which_hook", repeat=True)
    remember("which_hook", repeat=False)
    assert (to_repeat(), taken()) == (["which_copies"], {"scale"})
