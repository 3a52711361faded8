"""Options that verbs share have one spelling and one meaning in all of them."""

import importlib
import json
import keyword

import click
import pytest

from clearhead.cli.main import VERBS
from clearhead.cli.options import print_json

SHARED = {"as_json": "--json", "device": "--device", "checkpoint": "--checkpoint", "beam": "--beam"}

# generate samples unless it is asked to search, and then prints what the others do; training goes on from the latest
OWN = {("generate", "beam"), ("train", "checkpoint")}


def test_shared_options_are_the_same_everywhere() -> None:
    seen: dict[str, set[object]] = {}
    for verb in VERBS:
        module = f"clearhead.cli.{verb}_" if keyword.iskeyword(verb) else f"clearhead.cli.{verb.replace('-', '_')}"
        command: click.Command = importlib.import_module(module).command
        for parameter in command.params:
            if parameter.name in SHARED and (verb, parameter.name) not in OWN:
                assert parameter.opts == [SHARED[parameter.name]], verb
                seen.setdefault(parameter.name, set()).add(parameter.default)
    assert seen.keys() == SHARED.keys()
    assert {name: len(defaults) for name, defaults in seen.items()} == dict.fromkeys(SHARED, 1)


def test_json_is_one_line_with_chinese_as_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": "我\n吃"})
    out = capsys.readouterr().out
    assert out == '{"a": "我\\n吃"}\n'
    assert json.loads(out) == {"a": "我\n吃"}


def test_what_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), 1.5, -float("inf")], "b": (True, None, "nan")})
    assert capsys.readouterr().out == '{"a": [null, 1.5, null], "b": [true, null, "nan"]}\n'
