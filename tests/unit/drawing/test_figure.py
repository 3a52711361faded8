"""Figures that a script draws: their data is what was given, whatever characters it has."""

import json
import re

import pytest

from clearhead.drawing.figure import live, resource


def test_data_comes_out_as_it_went_in() -> None:
    data = {"pieces": ["</script><b>", "苹果", "&lt;", '"', "\u2028"], "values": [0.5, None]}
    figure = live("curves", "a <title> & more", data, "<p>still</p>")
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)
    assert json.loads(spelled) == data
    assert "<figcaption>a &lt;title&gt; &amp; more</figcaption>" in figure
    assert '<div class="still"><p>still</p></div>' in figure


@pytest.mark.parametrize("name", ["page.js", "page.css"])
def test_what_comes_with_the_page_asks_for_nothing(name: str) -> None:
    source = resource(name)
    assert len(source) > 1000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|import|XMLHttpRequest|url\(", source)
    assert "</script" not in source
    assert "</style" not in source
