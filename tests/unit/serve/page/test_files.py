"""The files of the page: whole, from here alone, in both languages, and nothing in them that a policy forbids."""

import json
import re
from pathlib import Path

import pytest

from clearhead.drawing.colours import DARK, LIGHT
from clearhead.drawing.figure import modules
from clearhead.serve.page.files import page_files

FILES = page_files()
TEXTS = {path: content.decode() for path, (content, _) in FILES.items()}
OWN = sorted(Path(path).name for path in FILES if path.endswith(".js") and Path(path).name not in modules())
"""Modules that only the page of a server has."""


def test_every_import_is_a_file_that_exports_it() -> None:
    for path, text in TEXTS.items():
        for names, origin in re.findall(r'^import \{ ([\w, ]+) \} from "\./([\w.]+)";$', text, re.MULTILINE):
            exports = re.findall(
                r"^export (?:async )?(?:function\*?|const|class) (\w+)", TEXTS[f"/page/{origin}"], re.M
            )
            assert set(names.split(", ")) <= set(exports), (path, origin)
        assert text.count("\nimport ") + text.startswith("import ") == len(
            re.findall(r"^import \{", text, re.MULTILINE)
        )


def test_the_page_names_files_that_are_there() -> None:
    named = re.findall(r'(?:href|src)="([^"]+)"', TEXTS["/"])
    assert named
    assert {f"/{path}" for path in named} <= set(FILES)
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|style=|\son\w+=", TEXTS["/"]), "a policy forbids it"


@pytest.mark.parametrize("name", OWN)
def test_a_module_loads_nothing_from_elsewhere_and_makes_no_markup_of_texts(name: str) -> None:
    text = TEXTS[f"/page/{name}"]
    assert not re.search(
        r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    assert not re.search(r"""setAttribute\(\s*["']style|style: ["'`]""", text)
    asked = re.findall(r"fetch\((.)", text)
    assert set(asked) <= {"`", '"'}
    assert all(where.startswith(("api/", "page/")) for where in re.findall(r"fetch\([`\"]([^`\"]+)", text))


def test_all_that_it_says_is_in_chinese_too() -> None:
    told = json.loads(TEXTS["/page/settings.json"])
    words = told["words"]
    assert len(words) > 120
    assert [text for text, chinese in words.items() if text == chinese] == []
    for text, chinese in words.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese)), text
    assert (told["scale"]["light"], told["scale"]["dark"]) == (list(LIGHT), list(DARK))


def test_it_translates_no_name_of_a_view() -> None:
    """See the same test of the modules that all pages share."""
    words = json.loads(TEXTS["/page/settings.json"])["words"]
    assert {"attention", "steps", "beam", "rank", "norm", "memory", "alternatives"} & set(words) == set()


def test_types_are_said() -> None:
    kinds = {path.rpartition(".")[2]: kind for path, (_, kind) in FILES.items()}
    assert kinds["js"] == "text/javascript; charset=utf-8"
    assert kinds["svg"] == "image/svg+xml; charset=utf-8"
    assert FILES["/"][1] == "text/html; charset=utf-8"
    assert {f"/page/{name}" for name in (*modules(), "app.js", "style.css", "app.css", "icon.svg")} <= set(FILES)
