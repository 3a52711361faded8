"""The site's pages follow from docs/ and from the code: every page has its place, and every link leads to one."""

import json
import os
import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest

import clearhead
from clearhead import types
from clearhead.cli.main import VERBS
from clearhead.drawing.report import Curves, Note, Table
from clearhead.lessons.catalog import LESSONS, THEMES
from clearhead.messages import Language
from website.api_pages import ROOMS, api_pages, root_names, type_names
from website.checks import faults
from website.drawn import drawn, swept
from website.language import LANGUAGES, ROOT, words
from website.lesson_pages import SWEEPS, untaken
from website.plan import OF_THE_PROJECT, SOURCES, lesson_path, navigation, paths, verb_path
from website.sources import LINK, joined, page_of, prepared, relinked, written
from website.verb_pages import plain, verb_pages

GENERATED = {"gallery.md"}  # by a build, from a trained run


@pytest.fixture(scope="module", params=LANGUAGES)
def pages(request: pytest.FixtureRequest) -> dict[str, str]:
    language: Language = request.param
    return written(language) | verb_pages(language) | api_pages(language) | untaken(language)


def test_every_page_has_one_place_and_every_place_a_page(pages: dict[str, str]) -> None:
    assert sorted(paths()) == sorted([*pages, *GENERATED])
    docs = {file.name for file in (ROOT / "docs").glob("*.md")}
    assert docs - set(pages) == set(), "add these to website/plan.py"


def test_every_page_has_a_title_and_links_lead_to_pages(pages: dict[str, str]) -> None:
    pictures = {file.name for file in (ROOT / "docs").glob("*.[ps][nv]g")}
    wrong = []
    for path, text in pages.items():
        assert re.search(r"^# \S", text, re.MULTILINE), path
        code = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
        for _, target, _ in LINK.findall(code):
            if re.match(r"https?:|#", target) or target.endswith("index.html"):  # the last is the other language's
                continue
            file = os.path.normpath(PurePosixPath(path).parent / target.partition("#")[0])
            wrong += [f"{path}: {target}"] * (file not in {*pages, *GENERATED, *pictures})
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_navigation_names_every_theme_verb_and_lesson(language: Language) -> None:
    titles = {path: path for path in paths()}
    told = json.dumps(navigation(language, titles), ensure_ascii=False)
    assert all(f'"{words(language, "nav")[theme]}"' in told for theme in THEMES)
    assert all(verb_path(verb) in told for verb in VERBS)
    assert all(lesson_path(name) in told for name in LESSONS)


def test_both_languages_have_the_same_words() -> None:
    tree = tomllib.loads((ROOT / "website" / "words.toml").read_text(encoding="utf-8"))
    english, chinese = tree["en"], tree["zh"]
    assert english.keys() == chinese.keys()
    for table in english.keys() - {"titles"}:
        assert english[table].keys() == chinese[table].keys(), table
        for key, text in english[table].items():
            assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", chinese[table][key]), key
    assert english["titles"].keys() <= chinese["titles"].keys() <= set(paths())


def test_every_public_name_is_in_the_reference() -> None:
    asked = {name.rpartition(".")[2] for names in root_names().values() for name in names}
    assert asked == set(clearhead.__all__) - {"inspect", "types", "__version__"}
    assert {name.rpartition(".")[2] for page in ROOMS for name in type_names(page)} == set(types.__all__)


def test_every_verb_has_all_its_options() -> None:
    english = verb_pages("en")
    for verb, option in (("train", "--resume"), ("inspect", "`attention`"), ("quiz", "--questions INTEGER RANGE")):
        assert option in english[verb_path(verb)]
    assert "```sh\nclearhead quiz\n" in english[verb_path("quiz")]


def test_knobs_that_are_turned_are_those_of_their_lesson() -> None:
    from clearhead.lessons.lesson import Lesson

    for name, (knob, values, others) in SWEEPS.items():
        settings = [{**others, knob: value} for value in values]
        assert [Lesson(name).checked(each) for each in settings] == settings, name


# ------------------------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[a](docs/cli.md)", "[a](cli.md)"),
        ("[a](docs/cli.md#errors)", "[a](cli.md#errors)"),
        ("![a](docs/trace.svg)", "![a](trace.svg)"),
        ("[a](ARCHITECTURE.md)", "[a](architecture.md)"),
        ("[a](benchmarks/README.md)", "[a](https://github.com/clearhead/clearhead/blob/main/benchmarks/README.md)"),
        ("[a](https://github.com/clearhead/clearhead/blob/main/docs/bert.md)", "[a](bert.md)"),
        ("![a](https://raw.githubusercontent.com/clearhead/clearhead/main/docs/trace.svg)", "![a](trace.svg)"),
        ("[a](https://d2l.ai)", "[a](https://d2l.ai)"),
        ("[中文](README.zh-CN.md)", "[中文](zh/index.html)"),
    ],
)
def test_a_link_of_the_readme_goes_where_the_site_has_its_target(line: str, expected: str) -> None:
    assert relinked(line, "README.md", "index.md", "en") == expected


def test_a_link_of_a_chinese_page_stays_among_chinese_pages() -> None:
    assert relinked("[a](bert.md)", "docs/zh/cli.md", "cli.md", "zh") == "[a](bert.md)"
    assert relinked("[a](../trace.svg)", "docs/zh/cli.md", "cli.md", "zh") == "[a](trace.svg)"
    assert relinked("[a](README.md)", "README.zh-CN.md", "index.md", "zh") == "[a](../index.html)"
    assert page_of("CHANGELOG.md") == next(page for page, file in OF_THE_PROJECT.items() if file == "CHANGELOG.md")
    assert {page_of(source) for sources in SOURCES.values() for source in sources.values()} == {"index.md"}


def test_code_is_left_alone_and_lists_begin_behind_an_empty_line(tmp_path: Path) -> None:
    file = ROOT / "docs" / "cli.md"
    text = prepared(file, "cli.md", "en", "A note.")
    assert text.startswith("# The command line\n\n*A note.*\n")
    assert 'eval "$(_CLEARHEAD_COMPLETE=bash_source clearhead)"' in text


def test_chinese_lines_are_joined_without_a_space() -> None:
    lines = [
        "# 题",
        "一句话，",
        "接着说",
        "完。",
        "",
        "- 项目，",
        "  还有",
        "- 另一项",
        "```",
        "代码",
        "代码",
        "```",
        "| 表 |",
    ]
    expected = ["# 题", "一句话，接着说完。", "", "- 项目，还有", "- 另一项", "```", "代码", "代码", "```", "| 表 |"]
    assert list(joined(lines)) == expected
    assert list(joined(["词 A", "b，", "`c` 与", "D"])) == ["词 A", "b，`c` 与", "D"]


def test_rows_of_verbs_and_lessons_lead_to_their_pages() -> None:
    assert "| [`train`](cli/train.md) |" in written("zh")["cli.md"]
    assert "| [`scale`](lessons/scale.md) |" in written("en")["lessons.md"]


def test_no_character_of_a_help_is_taken_for_markdown() -> None:
    assert plain("2<=x, a_b *c* [d]") == "2&lt;=x, a\\_b \\*c\\* \\[d]"
    assert "默认" in verb_pages("zh")[verb_path("train")]
    assert "default" not in verb_pages("zh")[verb_path("train")]


# ------------------------------------------------------------------------------------------------------- what is drawn


def test_parts_are_one_block_of_html_and_curves_keep_their_values() -> None:
    curves = Curves("loss < 1", "step", [1.0, 2.0, 3.0], {"a": [1.0, float("nan"), 0.123456789], "b": [3.0, 2.0, 1.0]})
    text = drawn([Table("t", ("x", ">y"), [("two\n\nlines", "1")]), curves, Note("said")])
    assert "\n\n" not in text
    told = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])  # type: ignore[index]
    assert told["lines"][0]["y"] == [1.0, None, 0.12346]
    assert (told["title"], told["x"]) == ("loss < 1", [1.0, 2.0, 3.0])
    frames = swept("keys", "{knob} = {value}", {"8": [curves], "64": [curves]}, "64")
    assert re.findall(r"<div class=at data-value=\"(\w+)\"( hidden)?>", frames) == [("8", " hidden"), ("64", "")]


def test_what_is_wrong_with_a_site_is_said(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text("<h1 id=here>b</h1>", encoding="utf-8")
    page = tmp_path / "a.html"
    good = '<a href="b.html#here">b</a><a href="https://d2l.ai">d</a><img src="data:,"><p>plain, - no list</p>'
    page.write_text(good, encoding="utf-8")
    assert faults(tmp_path) == []
    for bad, said in {
        '<a href="c.html">c</a>': "links to c.html, which is not there",
        '<a href="b.html#there">b</a>': "links to b.html#there: the page has no such place",
        '<a href="../../etc/passwd">x</a>': "links to ../../etc/passwd, which is not there",
        '<img src="c.png">': "loads c.png, which is not there",
        '<script src="https://unpkg.com/x"></script>': "loads https://unpkg.com/x from the network",
        '<link rel="stylesheet" href="//fonts.example/x.css">': "loads //fonts.example/x.css from the network",
        "<p>- a list</p>": "Markdown that was not read: '- a list'",
        "<p>[a](b.md)</p>": "Markdown that was not read: '[a](b.md)'",
    }.items():
        page.write_text(good + bad, encoding="utf-8")
        assert faults(tmp_path) == [f"a.html: {said}"], bad


def test_nothing_of_ours_asks_the_network() -> None:
    for file in (ROOT / "website").rglob("*.*"):
        if file.suffix in {".js", ".css", ".html"}:
            loaded = re.findall(
                r"(?:fetch\(|import\(|url\(|src=|@import)\W*https?:\S*", file.read_text(encoding="utf-8")
            )
            assert loaded == [], file
