"""Figures that a script draws: their data is what was given, whatever characters it has."""

import json
import re

from clearhead.inspect.figure import live, script


def test_data_comes_out_as_it_went_in() -> None:
    data = {"pieces": ["</script><b>", "苹果", "&lt;", '"', "\u2028"], "values": [0.5, None]}
    found = live("curves", "a <title> & more", data, "<p>still</p>")
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', found, re.DOTALL)
    assert json.loads(spelled) == data
    assert "<figcaption>a &lt;title&gt; &amp; more</figcaption>" in found
    assert '<div class="still"><p>still</p></div>' in found


def test_the_script_asks_for_nothing() -> None:
    source = script()
    assert source.startswith('<script type="module">')
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|import\s*\(|^import |XMLHttpRequest", source, re.M
    )
    assert source.count("</script>") == 1
