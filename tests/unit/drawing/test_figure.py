"""Figures that a script draws: their data is what was given, whatever characters it has."""

import json
import re

import pytest

from clearhead.drawing.colours import DARK, LIGHT, MARKS
from clearhead.drawing.figure import bundle, digest, live, modules, resource, script_says, settings
from clearhead.messages import Prose


def test_data_comes_out_as_it_went_in() -> None:
    data = {"pieces": ["</script><b>", "苹果", "&lt;", '"', "\u2028"], "values": [0.5, None]}
    figure = live("curves", "a <title> & more", data, "<p>still</p>")
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)
    assert json.loads(spelled) == data | {"words": {}}
    assert "<figcaption>a &lt;title&gt; &amp; more</figcaption>" in figure
    assert '<div class="still"><p>still</p></div>' in figure


@pytest.mark.parametrize("name", [*modules(), "style.css"])
def test_what_comes_with_the_page_asks_for_nothing(name: str) -> None:
    source = resource(name)
    assert len(source) > 500
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|XMLHttpRequest|url\(|import\(", source)
    assert "</script" not in source
    assert "</style" not in source


@pytest.mark.parametrize("name", modules())
def test_a_text_never_becomes_markup(name: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", resource(name)
    )
    assert not re.search(r"""setAttribute\(\s*["']style|style: ["'`]""", resource(name)), "which a policy forbids"


def test_modules_are_one_script_each_in_its_scope() -> None:
    script = bundle()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    scopes = re.findall(r"^const (in_\w+) = \(\(\) => \{$", script, re.MULTILINE)
    assert sorted(scopes) == sorted(f"in_{name.removesuffix('.js')}" for name in modules())
    for number, scope in enumerate(scopes):
        used = re.findall(rf"\}} = {scope};", script)
        before = script[: script.index(f"const {scope} = ")]
        assert f"}} = {scope};" not in before, "a module comes before those that import it"
        assert used or number == len(scopes) - 1


def test_what_a_module_imports_another_exports() -> None:
    for name in modules():
        for names, origin in re.findall(r'^import \{ ([\w, ]+) \} from "\./([\w.]+)";$', resource(name), re.MULTILINE):
            exported = set(
                re.findall(r"^export (?:async )?(?:function\*?|const|class) (\w+)", resource(origin), re.MULTILINE)
            )
            assert set(names.split(", ")) <= exported, (name, origin)


def test_a_page_names_its_script_by_its_digest() -> None:
    assert digest("") == "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


def test_texts_of_the_program_among_the_data_come_in_both_languages() -> None:
    figure = live("curves", "title", {"axis": Prose("interrupted"), "names": ["interrupted", "my own"]}, "")
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)
    assert json.loads(spelled)["words"] == {"interrupted": "已中断"}


def test_the_scripts_have_their_chinese_and_the_colours() -> None:
    told = settings(script_says())
    words = told["words"]
    assert len(words) > 50
    assert [text for text, chinese in words.items() if text == chinese] == []
    for text, chinese in words.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese)), text
    assert told["scale"] == {"light": LIGHT, "dark": DARK, "marks": MARKS}


def test_what_the_scripts_say_translates_no_name_of_a_view() -> None:
    """A word that is a template of its own would be translated in front of a colon, too: ``beam: writes no text``."""
    views = ("attention", "steps", "beam", "rank", "norm", "memory", "query", "embedding", "checkpoint", "model")
    assert set(views) & set(script_says()) == set()
