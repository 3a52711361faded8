"""A lesson as a page: what it says in both languages, what does not hold is said, a notebook that runs."""

import json
from pathlib import Path
from typing import Any

import pytest

import clearhead
from clearhead.drawing.page import page as page_of
from clearhead.errors import UsageError
from clearhead.lessons.page import LessonPage, lesson, save_notebook

SHORT: dict[str, Any] = {"d_k": (8, 512), "steps": 60}


@pytest.fixture(scope="module")
def scale() -> LessonPage:
    return lesson("scale", settings=SHORT, guess="500")


def test_it_has_all_that_a_reader_wants(scale: LessonPage) -> None:
    text = "\n".join(scale.lines(80))
    for part in ("A score is the dot product", "为啥要除以", "you guessed 500; it is 5", "- The variance of a sum"):
        assert part in text
    assert max(map(len, scale.lines(80))) <= 80
    assert "clearhead inspect RUN attention" in text
    assert "with these settings" not in text


def test_the_same_in_chinese(scale: LessonPage) -> None:
    chinese = LessonPage("scale", "zh", scale.settings, scale.measured, scale.claims, "500")
    text = "\n".join(chinese.lines(80))
    assert chinese.title == "为什么要除以 √d_k"
    for part in ("你猜的是 500；实测是 5", "这说明什么", "笔记里的原问题"):
        assert part in text


def test_what_does_not_hold_with_other_settings_is_said() -> None:
    small = lesson("scale", settings={"d_k": (2, 4), "steps": 1})
    text = " ".join(" ".join(small.lines(200)).split())
    assert "- with these settings this does not hold: Undivided, the softmax picks nearly one key" in text
    assert small.as_dict()["answer"]["saturates"]["holds"] is False


def test_json_holds_what_was_measured(scale: LessonPage) -> None:
    tree = json.loads(json.dumps(scale.as_dict()))
    assert tree["measured"]["d_k"] == [8, 512]
    assert tree["answer"]["variance"]["holds"] is True
    assert "512" in tree["answer"]["variance"]["says"]
    assert tree["settings"]["keys"] == 64


def test_a_page_loads_nothing(scale: LessonPage) -> None:
    html = page_of(scale)
    assert "<pre><code>import math" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_from_python_a_wrong_knob_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^lesson 'scale': d_k = '0': must be a whole number from 1 to 4096"):
        clearhead.lesson("scale", settings={"d_k": (0,)})


def test_a_notebook_measures_again(scale: LessonPage, tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed: it runs notebooks")
    import nbformat
    from nbclient import NotebookClient

    save_notebook(scale, tmp_path / "scale.ipynb")
    notebook = nbformat.read(tmp_path / "scale.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("The variance of a sum" in output.get("data", {}).get("text/html", "") for output in shown)
    assert any(output.get("name") == "stdout" for output in shown)
