"""Errors in Chinese: every message of the code has a template, every template a message; values come through."""

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

from clearhead.cli.main import cli
from clearhead.config import parse
from clearhead.messages import CATALOGUE, MOST_MARKS, SLOT, _template, localized, wants_chinese
from tests.architecture import source

CHINESE = {"LANG": "zh_CN.UTF-8"}
TABLES = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
FOREIGN = {"click", "pydantic", "python"}  # what others say
OURS = {text for table, entries in TABLES.items() if table not in FOREIGN for text in entries}

# calls whose arguments are messages, and functions whose texts become parts of messages
CALLS = {
    "UsageError",
    "SettingError",
    "DataError",
    "ModelError",
    "TooLargeError",
    "ClearheadError",
    "ValueError",
    "fail",
    "_leave",
    "_refuse",
}
SPEAKERS = {
    "errors.py": {"nearest"},
    "config.py": {"_unknown_keys", "_explain"},
    "ranges.py": {"unusable"},
    "data/corpus.py": {"lines"},
    "verbs/exports/certify.py": {"difference", "line"},
}
# a layer's own checks are for who builds one by hand; a config has refused the same numbers before
EXEMPT = "nn/"
NAMES = {"clearhead", "valid"}  # which stay


def plain(text: str) -> str:
    """A template without the names of its slots, or a text of the code without the mark in front."""
    return SLOT.sub("{}", text).strip().removeprefix("; ")


def template(node: ast.AST) -> str:
    """An expression as a text with ``{}`` for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(template, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left) + template(right)
    return "{}"


def texts(node: ast.AST, assigned: dict[str, list[str]]) -> Iterator[str]:
    """Yields the texts that an expression may be, and those that may stand in their slots."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr() | ast.BinOp(op=ast.Add()):
            yield template(node)
            for slot in ast.walk(node):
                if isinstance(slot, ast.FormattedValue):
                    yield from texts(slot.value, assigned)
        case ast.IfExp(body=body, orelse=orelse):
            yield from [*texts(body, assigned), *texts(orelse, assigned)]
        case ast.BoolOp(values=values):
            yield from (text for value in values for text in texts(value, assigned))
        case ast.Name(id=name):
            yield from assigned.get(name, [])


def assignments(function: ast.AST) -> dict[str, list[str]]:
    """The texts that a function gives to its variables."""
    raised: dict[str, list[str]] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                raised.setdefault(name, []).extend(texts(value, {}))
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                raised.setdefault(name, []).extend("{}" + text for text in texts(value, {}))
    return raised


def messages(path: Path) -> Iterator[str]:
    """Yields what the errors of a module say, as templates."""
    speakers = SPEAKERS.get(path.relative_to(source.PACKAGE).as_posix(), set())
    for function in source.functions(path):
        assigned = assignments(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in CALLS:
                yield from (text for argument in node.args for text in texts(argument, assigned))
            elif isinstance(node, ast.JoinedStr) and function.name in speakers:
                yield from texts(node, assigned)


def test_every_error_has_its_chinese() -> None:
    known = set(map(plain, OURS))
    missing = {
        text
        for path in source.modules(source.PACKAGE)
        if not path.relative_to(source.PACKAGE).as_posix().startswith(EXEMPT)
        for text in map(plain, messages(path))
        if text not in known | NAMES and re.search("[A-Za-z]{2}", text)
    }
    assert sorted(missing) == []


def everything(path: Path) -> Iterator[str]:
    """Yields all texts of a module."""
    for node in ast.walk(source.tree(path)):
        if isinstance(node, ast.AugAssign):
            yield from ("{}" + text for text in texts(node.value, {}))
        else:
            yield template(node)


def test_no_entry_is_dead() -> None:
    alive = {plain(text) for path in source.modules(source.PACKAGE) for text in everything(path)}
    assert sorted(text for text in OURS if plain(text) not in alive) == []


def test_the_collector_finds_what_may_be_said() -> None:
    code = """
def f(name):
    rule = f"at least {name}" if name else "none"
    rule += ", or so"
    raise UsageError(f"a {name!r}; " "b: " f"{rule} {name or 'nobody'}" + g(name))
"""
    function = ast.parse(code).body[0]
    call = next(node for node in ast.walk(function) if isinstance(node, ast.Call))
    messages = set(texts(call.args[0], assignments(function)))
    assert messages == {"a {}; b: {} {}{}", "at least {}", "none", "{}, or so", "nobody"}


def test_both_languages_have_the_same_slots() -> None:
    for english, chinese in ((english, chinese) for table in TABLES.values() for english, chinese in table.items()):
        assert sorted(SLOT.findall(english)) == sorted(SLOT.findall(chinese)), english
        assert len(set(SLOT.findall(english))) == len(SLOT.findall(english)), english
        assert re.search("[：（\u4e00-\u9fff]", chinese), english
    assert len(set(map(plain, OURS))) == len(OURS)


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
        patterns = {english: _template(english, "").pattern.pattern for english in TABLES[table]}
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
