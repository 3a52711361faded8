"""What is said, in Chinese: every text of the code has a template, every template a text; values come through."""

import ast
import csv
import errno
import gzip
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Le, Lt
from babel.messages.catalog import Catalog
from click.testing import CliRunner

from clearhead.cli.main import cli
from clearhead.config import parse
from clearhead.messages import CATALOGUE, MOST_MARKS, SLOT, _template, entries, localized, speaking, wants_chinese
from tests.architecture import source

CHINESE = {"LANG": "zh_CN.UTF-8"}
WORDS = source.script("words")
ENTRIES = {str(message.id): message for message in WORDS.catalogue() if message.id}
FOREIGN = ("click", "pydantic", "python")  # who else says what we show


def said_by(speaker: str) -> dict[str, str]:
    """The entries of what another library says."""
    comment = f"{WORDS.FOREIGN}{speaker}"
    return {text: str(message.string) for text, message in ENTRIES.items() if comment in message.user_comments}


SYMBOLS = ("γ", "β")
OURS = set(ENTRIES).difference(*map(said_by, FOREIGN))


def test_everything_that_is_said_has_its_chinese() -> None:
    assert WORDS.missing() == [], "run .venv/bin/python scripts/words --write, and translate what it adds"


def test_no_entry_is_dead() -> None:
    assert WORDS.dead() == [], "run .venv/bin/python scripts/words --write"


def test_the_catalogue_is_as_the_script_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "zh.po"
    copy.write_bytes(CATALOGUE.read_bytes())
    monkeypatch.setattr(WORDS, "CATALOGUE", copy)
    WORDS.write()
    assert copy.read_bytes() == CATALOGUE.read_bytes()


def test_python_reads_what_babel_reads() -> None:
    read = entries(CATALOGUE.read_text(encoding="utf-8"))
    assert read == {text: message.string for text, message in ENTRIES.items()}


def test_a_text_that_is_new_is_missing_and_one_that_went_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = Catalog(locale="zh")
    fewer.add("nobody says {this}", "没有人说 {this}")
    monkeypatch.setattr(WORDS, "catalogue", lambda: fewer)
    assert "interrupted" in WORDS.missing()
    assert WORDS.dead() == ["nobody says {this}"]


def test_the_collector_finds_what_may_be_said() -> None:
    code = """
def f(name):
    rule = f"at least {name}" if name else "none"
    rule += ", or so"
    raise UsageError(f"a {name!r}; " "b: " f"{rule} {name or 'nobody'}" + g(name))
"""
    function = ast.parse(code).body[0]
    call = next(node for node in ast.walk(function) if isinstance(node, ast.Call))
    messages = set(WORDS.texts(call.args[0], WORDS.assignments(function)))
    whole = "a {name}; b: {rule:text} {value:text}{value2}"
    assert messages == {whole, "at least {name}", "none", "{value}, or so", "nobody"}


def test_both_languages_have_the_same_slots() -> None:
    for english, message in ENTRIES.items():
        chinese = str(message.string)
        assert sorted(SLOT.findall(english)) == sorted(SLOT.findall(chinese)), english
        assert len({name for name, _ in SLOT.findall(english)}) == len(SLOT.findall(english)), english
        assert re.search("[：（\u4e00-\u9fff]", chinese) or chinese in (english, *SYMBOLS), english
    assert len(set(map(WORDS.plain, OURS))) == len(OURS)


@dataclass(frozen=True)
class Numbers:
    x: Annotated[float, Gt(0), Le(1)] = 1.0
    n: Annotated[int, Ge(1), Lt(9)] = 1
    on: bool = True
    s: str = ""
    two: tuple[int, int] = (1, 2)
    not_set: None = None


def said(call: Callable[..., object], *arguments: object) -> str:
    """Returns what a call that fails says, on one line."""
    try:
        call(*arguments)
    except Exception as error:
        return " ".join(getattr(error, "format_message", error.__str__)().split())
    raise AssertionError(f"{repr(arguments)[:200]} did not fail")


def pydantic_says() -> Iterator[str]:
    first = {"x": 0, "n": 0, "on": 1, "s": 1, "two": 1, "not_set": 1}
    for tree in (first, {"x": 2, "n": 9, "two": [1]}, {"x": "1", "n": "1", "two": [1, 2, 3]}):
        yield from said(lambda tree: parse(Numbers, tree, source="here"), tree).removeprefix("here: ").split("; ")


def click_says() -> Iterator[str]:
    lines = [
        "translate",
        "doctor a",
        "doctor a b",
        "train --foo",
        "train --resme",
        "plan --devces 2",
        "translate --aligment",
        "trace --top",
    ]
    lines += ["translate r --alignment=1", "trace r x --top 0", "trace r x --top x", "evaluate r --length-penalty x"]
    for line in [*lines, "translate r --overlong x"]:
        yield said(lambda words: cli.main(words, standalone_mode=False), line.split())
    for words in (["--help"], ["translate", "--help"], ["export", "--help"]):
        shown = " ".join(CliRunner().invoke(cli, words).output.split())
        yield from re.findall(r"Options(?=:)|Show this message and exit\.|Show the version and exit\.", shown)
        yield from re.findall(r"(?<=\[)(default: \d+|required)(?=\])", shown)


def python_says() -> Iterator[str]:
    for name in "ENOENT EACCES EEXIST ENOTDIR EISDIR EMFILE ENOSPC EROFS EDQUOT EIO ENAMETOOLONG".split():
        yield os.strerror(getattr(errno, name))
    yield str(OSError(errno.ENOSPC, "No space left on device"))
    yield str(OSError(errno.ENOENT, "No such file or directory", "a"))
    for text in [
        'a = "x\ny"',
        "a = '\0'",
        "a",
        "= 1",
        "a = ",
        "a = 1 b",
        "[a",
        "a = 1\na = 2",
        "[a]\n[a]",
        "a = 'x",
        'a = "x',
        "a = [1",
    ]:
        yield said(tomllib.loads, text)
    for text in ["", "{", "1 2", '{"a": 1 "b"', "[1 2"]:
        yield said(json.loads, text)
    limit = csv.field_size_limit(100)  # which our reader of long fields may have moved
    for text in ['"a', '"a"b', "a" * 101]:
        yield said(lambda text: list(csv.reader([text], strict=True)), text)
    csv.field_size_limit(limit)
    for content in (b"plain", gzip.compress(b"text")[:-3]):
        yield said(gzip.decompress, content)


def test_what_others_say_really_comes_and_is_translated() -> None:
    for table, found in (("click", click_says()), ("pydantic", pydantic_says()), ("python", python_says())):
        lines = list(found)
        patterns = {english: _template(english, "").pattern.pattern for english in said_by(table)}
        assert [text for text, pattern in patterns.items() if not any(re.search(pattern, line) for line in lines)] == []
        for line in lines:
            unquoted = re.sub("'.*'", "", localized(line, CHINESE))
            assert set(re.findall("[A-Za-z]{4,}", unquoted)) <= {"gzip", "errno", "true", "false"}, line


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("interrupted", "已中断"),
        ("nothing has a template for this", "nothing has a template for this"),
        # slots are read too, values are not, whatever stands in them
        ("run 'missing': no such directory; did you mean 'run'?", "运行 'missing'：没有这个目录；是不是指 'run'？"),
        ("run 'a; b: c': no such directory", "运行 'a; b: c'：没有这个目录"),
        ('run "it\'s": no such directory', '运行 "it\'s"：没有这个目录'),
        ("a; b: c/train.zh is empty", "a; b: c/train.zh 是空文件"),
        ("{} is empty", "{} 是空文件"),
        ("missing is empty", "missing 是空文件"),
        # what a line is indented by stays, and a number may be padded
        ("     leaf", "     叶子"),
        (f"speed  {7:6.0f}   target pieces per second", f"速度   {7:6.0f}   目标词元/秒"),
        ("d/a cannot be read: Is a directory", "无法读取 d/a：是一个目录"),
        ("x/model.safetensors: tensor 'a' is missing", "x/model.safetensors：张量 'a' 缺失"),
        # the whole sentence of a config comes behind where it stood
        (
            "recipe 'x': max_ratio = 0.5: must be 0 (off) or at least 1",
            "配方 'x'：max_ratio = 0.5：必须是 0（关闭）或不小于 1",
        ),
        # of two templates the one that says more
        (
            "recipe 'x': a.b = 0: input should be greater than or equal to 1",
            "配方 'x'：a.b = 0：应大于或等于 1",
        ),
        # lists
        (
            "recipe 'x': unknown key 'a; b'; did you mean 'c'?; unknown key 'd'; known: e, f",
            "配方 'x'：未知的键 'a; b'；是不是指 'c'？；未知的键 'd'；已知的有：e, f",
        ),
        (
            "recipe 'x': a = 0: input should be less than 0; b = 'rsm': must be one of layer, rms; did you mean 'rms'?",
            "配方 'x'：a = 0：应小于 0；b = 'rsm'：只能是 layer, rms 之一；是不是指 'rms'？",
        ),
        # what is known is Chinese beside what is not
        ("recipe 'x': the moon is full", "配方 'x'：the moon is full"),
    ],
)
def test_a_message_is_read_whole(english: str, chinese: str) -> None:
    assert localized(english, CHINESE) == chinese
    assert localized(english, {"LANG": "C"}) == english


@pytest.mark.timeout(300)  # of a search that takes the square of the length, half an hour
def test_long_lines_take_no_time() -> None:
    problem = "unknown key 'a'; did you mean 'b'?"
    line = "here: " + "; ".join([problem] * (MOST_MARKS // 2))
    assert localized(line, CHINESE).count("未知的键 'a'；是不是指 'b'？") == MOST_MARKS // 2
    longer = f"{line}; {problem}"
    assert localized(longer, CHINESE) == longer


@pytest.mark.parametrize(
    ("environ", "chinese"),
    [
        ({}, False),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh"}, True),
        ({"LANG": "zha_CN"}, False),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "C"}, False),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "en_GB"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}, True),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, True),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en:zh"}, False),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "fr:zh_CN"}, True),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "fr"}, True),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, False),
        ({"LANGUAGE": "zh_CN"}, False),
    ],
    ids=lambda value: " ".join(f"{name}={word}" for name, word in value.items()) if isinstance(value, dict) else "",
)
def test_the_language_is_the_users(environ: dict[str, str], chinese: bool) -> None:
    assert wants_chinese(environ) is chinese


def test_a_language_that_is_chosen_wins() -> None:
    with speaking("zh"):
        assert localized("interrupted", {"LANG": "en_US.UTF-8"}) == "已中断"
        with speaking(None):
            assert localized("interrupted", {"LANG": "C"}) == "已中断"
        with speaking("en"):
            assert localized("interrupted", CHINESE) == "interrupted"
    assert localized("interrupted", {"LANG": "C"}) == "interrupted"
