"""Figures that a script draws: their data is what was given, whatever characters it has."""

import json
import re

import pytest

from clearhead.drawing.figure import live, resource, script_words
from clearhead.messages import Prose


def test_data_comes_out_as_it_went_in() -> None:
    data = {"pieces": ["</script><b>", "苹果", "&lt;", '"', "\u2028"], "values": [0.5, None]}
    figure = live("curves", "a <title> & more", data, "<p>still</p>")
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)
    assert json.loads(spelled) == data | {"words": {}}
    assert "<figcaption>a &lt;title&gt; &amp; more</figcaption>" in figure
    assert '<div class="still"><p>still</p></div>' in figure


@pytest.mark.parametrize("name", ["page.js", "page.css"])
def test_what_comes_with_the_page_asks_for_nothing(name: str) -> None:
    source = resource(name)
    assert len(source) > 1000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|import|XMLHttpRequest|url\(", source)
    assert "</script" not in source
    assert "</style" not in source


def test_texts_of_the_program_among_the_data_come_in_both_languages() -> None:
    figure = live("curves", "title", {"axis": Prose("interrupted"), "names": ["interrupted", "my own"]}, "")
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)
    assert json.loads(spelled)["words"] == {"interrupted": "已中断"}


def test_the_script_has_its_chinese() -> None:
    words = script_words()
    assert words
    assert [text for text, chinese in words.items() if text == chinese] == []
    for text, chinese in words.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese)), text
