"""The Chinese pages say what the English ones say: the same headings, code, keys, figures, tables and links."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from clearhead.lessons.catalog import LESSONS
from clearhead.lessons.lesson import Lesson
from tests.architecture import source

ENGLISH = source.ROOT / "docs"
CHINESE = ENGLISH / "zh"
PAGES = sorted(path.name for path in ENGLISH.glob("*.md"))

HEADING = re.compile(r"(#+) (.+)")
TICKED = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
FIGURE = re.compile(
    r"((?:(?<![^\s|（(，：])[-+])?\d+(?:,\d{3})*(?:\.\d+)*(?:e-?\d+)?)(?: (thousand|million|billion|万|亿))?"
)
FACTORS = {"thousand": 10**3, "万": 10**4, "million": 10**6, "亿": 10**8, "billion": 10**9}
HAN = "[\u3400-\u9fff]"
SLIPS = {
    "no space between Chinese and Latin": re.compile(rf"{HAN}\[?[A-Za-z0-9`]|[A-Za-z0-9`]{HAN}"),
    "half-width punctuation": re.compile(rf"{HAN}[,;:?!.(]"),
    "a dash": re.compile("[\u2013\u2014]"),
}


@dataclass
class Section:
    """A heading and what stands below it, up to the next one."""

    level: int
    title: str
    code: list[str] = field(default_factory=list)
    """Blocks of code, byte for byte."""
    tables: list[list[int]] = field(default_factory=list)
    """Number of cells in each row of each table."""
    prose: list[str] = field(default_factory=list)
    """Paragraphs, list items and rows of tables, each on one line."""

    def text(self) -> str:
        return "\n".join(self.prose)


def kind_of(line: str, is_after_blank: bool) -> str:
    """Returns what a block is that begins with this line; code is indented only after a blank line."""
    if line.startswith("```") or (line.startswith("    ") and is_after_blank):
        return "code"
    if HEADING.match(line):
        return "heading"
    return "table" if line.startswith("|") else "prose"


def continues(line: str, block: list[str]) -> bool:
    """Returns whether a line belongs to the block above it."""
    first = block[0]
    if first.startswith("```"):
        return len(block) == 1 or block[-1] != "```"
    if HEADING.match(first) or not first.strip() or not line.strip():
        return False
    if first.startswith("|") or line.startswith("|"):
        return first.startswith("|") and line.startswith("|")
    return not line.startswith(("- ", "#", "```"))


def blocks(page: str) -> Iterator[list[str]]:
    """Yields the lines of each block, blank lines too."""
    block: list[str] = []
    for line in page.splitlines():
        if block and not continues(line, block):
            yield block
            block = []
        block.append(line)
    yield block


def sections(page: str) -> list[Section]:
    """Returns the sections of a page, the first of which is what stands above its title."""
    read, is_after_blank = [Section(0, "")], True
    for block in blocks(page):
        kind = kind_of(block[0], is_after_blank)
        is_after_blank = not block[0].strip()
        heading = HEADING.match(block[0])
        if kind == "heading" and heading:
            read.append(Section(len(heading[1]), heading[2]))
        elif kind == "code":
            read[-1].code.append("\n".join(block))
        elif kind == "table":
            read[-1].tables.append([TICKED.sub("", row).count("|") for row in block])
            read[-1].prose += block
        elif not is_after_blank and not ANCHOR.match(block[0]):
            read[-1].prose.append(" ".join(line.strip() for line in block))
    return read


def mirrored(target: str) -> str:
    """Returns what a Chinese page links to in place of the target of an English one."""
    path, mark, anchor = target.partition("#")
    if "://" in target or not path or path in PAGES:
        return target
    translated = Path(path).with_suffix(".zh-CN.md")
    path = translated.as_posix() if path.startswith("../") and (ENGLISH / translated).is_file() else path
    return f"../{path}{mark}{anchor}"


def page_in(folder: Path, name: str) -> list[Section]:
    """Returns the sections of a page, those of an English one with the links that the Chinese one must have."""
    read = sections((folder / name).read_text(encoding="utf-8"))
    for section in read if folder == ENGLISH else []:
        section.prose = [LINK.sub(lambda link: f"]({mirrored(link[1])})", text) for text in section.prose]
    return read


def figures(text: str) -> list[str]:
    """Returns the numbers outside code and links, so written that ``2.4 million`` and ``240 万`` are the same."""
    return [value_of(*match.groups()) for match in FIGURE.finditer(LINK.sub("]", TICKED.sub("`", text)))]


def value_of(digits: str, word: str | None) -> str:
    plain = digits.replace(",", "")
    return f"{(Decimal(plain) * FACTORS[word]).normalize():f}" if word else plain


def of_paragraphs(read: Callable[[str], list[str]]) -> Callable[[Section], list[str]]:
    """Returns what finds something in the heading and in each paragraph, with the paragraph's number."""
    return lambda section: [
        f"paragraph {number}: {part}"
        for number, text in enumerate([section.title, *section.prose])
        for part in read(text)
    ]


# what must be the same in both languages, in any order within a paragraph, since sentences are built another way
PARTS: dict[str, Callable[[Section], list[str]]] = {
    "code": lambda section: [f"block {number}: {code}" for number, code in enumerate(section.code, 1)],
    "tables": lambda section: [f"table {number}: {rows}" for number, rows in enumerate(section.tables, 1)],
    "paragraphs": lambda section: [str(len(section.prose))],
    "keys and names": of_paragraphs(lambda text: [match[2] for match in TICKED.finditer(text)]),
    "figures": of_paragraphs(figures),
    "links": of_paragraphs(LINK.findall),
}


def test_every_page_is_there_in_both_languages() -> None:
    assert PAGES
    assert sorted(path.name for path in CHINESE.glob("*.md")) == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_headings_have_the_same_levels(name: str) -> None:
    english, chinese = page_in(ENGLISH, name), page_in(CHINESE, name)
    assert [section.level for section in chinese] == [section.level for section in english]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", PAGES)
def test_sections_have_the_same(name: str, part: str) -> None:
    wrong = []
    for english, chinese in zip(page_in(ENGLISH, name), page_in(CHINESE, name), strict=True):
        expected, there = Counter(PARTS[part](english)), Counter(PARTS[part](chinese))
        missing, added = list((expected - there).elements()), list((there - expected).elements())
        wrong += [f"{chinese.title}: missing {missing}, added {added}"] * bool(missing or added)
    assert wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    broken = []
    for target in LINK.findall("\n".join(section.text() for section in page_in(CHINESE, name))):
        path, _, anchor = target.partition("#")
        file = CHINESE / (path or name)
        if "://" not in target and not (file.is_file() and (not anchor or anchor in ANCHOR.findall(source.text(file)))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_prose_is_chinese(name: str) -> None:
    wrong = []
    for section in page_in(CHINESE, name):
        paragraphs = [text for text in section.prose if not text.startswith(("|", "<a id="))]
        wrong += [
            f"not translated: {text}" for text in [section.title, *paragraphs] if text and not re.search(HAN, text)
        ]
        text = LINK.sub("]", f"{section.title}\n{section.text()}".replace("**", ""))
        wrong += [f"{slip}: {match[0]}" for slip, pattern in SLIPS.items() for match in pattern.finditer(text)]
    assert wrong == []


def test_every_lesson_has_its_title() -> None:
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", source.text(CHINESE / "lessons.md"), re.MULTILINE))
    assert listed == {name: Lesson(name).words("zh")["title"] for name in LESSONS}


def test_the_reference_of_recipes_is_what_the_code_says() -> None:
    script = source.script("recipe_keys")
    catalogue = script.chinese()
    said = {line for recipe in script.RECIPES.values() for _, _, line, _ in script.keys(recipe())}
    assert said ^ set(catalogue["lines"]) == set(), "lines that scripts/recipe_zh.toml misses, or that nothing says"
    stale = "docs/zh/recipe.md is stale: run .venv/bin/python scripts/recipe_keys --write"
    assert source.text(CHINESE / "recipe.md") == script.page(catalogue), stale


@pytest.mark.parametrize(
    ("english", "chinese", "part"),
    [
        ("It took 2.4 million steps.", "用了 230 万步。", "figures"),
        ("-2 %, then 3 %", "2 %，然后 3 %", "figures"),
        ("Five.\n\n5", "5\n\n五。", "figures"),
        ("Set `train.lr` to 3.", "把 `train.seed` 设为 3。", "keys and names"),
        ("See [results](results.md).", "见[结果](log.md)。", "links"),
        ("| a | b |\n|---|---|\n| c | d |", "| 甲 | 乙 |\n|---|---|\n| 丙 |", "tables"),
        ("One.\n\nTwo.", "一和二。", "paragraphs"),
        ("```sh\nclearhead presets\n```", "```sh\nclearhead preset\n```", "code"),
        ("So:\n\n    clearhead demo\n", "这样：\n\n    clearhead  demo\n", "code"),
    ],
)
def test_a_page_out_of_step_is_seen(english: str, chinese: str, part: str) -> None:
    here, there = sections(f"# Title\n\n{english}")[1], sections(f"# 标题\n\n{chinese}")[1]
    assert [other for other, read in PARTS.items() if read(here) != read(there)] == [part]


def test_equal_figures_are_equal_in_both_languages() -> None:
    here = figures("10 million pairs in 1.69 x, at 1e-5, -2 % of 2.13.0: 1,024, `9` of [a](b4.md).")
    there = figures("1,000 万对，1.69 倍，1e-5 处，-2 %（2.13.0）：1024，[甲](b5.md) 的 `8`。")
    assert here == there == ["10000000", "1.69", "1e-5", "-2", "2.13.0", "1024"]


@pytest.mark.parametrize("slip", ["用Python写", "见[README](a.md)", "好,坏", "破—折", "一(二)"])
def test_slips_of_writing_are_seen(slip: str) -> None:
    assert [name for name, pattern in SLIPS.items() if pattern.search(slip)]
    assert not any(pattern.search("用 Python 写（3.11），见 [README](a.md)。") for pattern in SLIPS.values())
