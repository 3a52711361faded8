"""Ranges: every number of every config and every option has two ends; what no setting can be is found and named."""

import dataclasses
import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import click
import pytest
from annotated_types import Ge, Interval, Lt

import clearhead
from clearhead import ranges
from clearhead.cli.main import cli
from clearhead.ranges import DEEPEST, TOO_DEEP, Range, range_of, too_deep, unusable

ALSO = ("EvaluationOptions", "SpecialIds", "Adopted")  # what comes from a user or a file under another name


def configs() -> list[type]:
    """Returns every dataclass of clearhead that is parsed from what somebody wrote."""
    kinds: dict[str, type] = {}
    for module in pkgutil.walk_packages(clearhead.__path__, "clearhead."):
        if module.name == "clearhead.__main__":
            continue
        for name, kind in vars(importlib.import_module(module.name)).items():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not name.startswith("_"):
                kinds |= {name: kind} if name.endswith(("Config", "Recipe")) or name in ALSO else {}
    return list(kinds.values())


def numbers_in(kind: Any) -> Iterator[Any]:
    """Yields the kinds of numbers in an annotation: in unions and tuples too."""
    if typing.get_origin(kind) is Annotated:
        if typing.get_args(kind)[0] in (int, float):
            yield kind
    elif kind in (int, float):
        yield kind
    elif typing.get_origin(kind) in (tuple, list, typing.Union, types.UnionType):
        for part in typing.get_args(kind):
            yield from numbers_in(part)


def unbounded(kind: type) -> list[str]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [
        f"{kind.__name__}.{field.name}"
        for field in dataclasses.fields(kind)
        for number in numbers_in(hints[field.name])
        if None in (range_of(number).low, range_of(number).high)
    ]


def test_every_number_of_every_config_has_two_ends() -> None:
    kinds = configs()
    assert {"TrainConfig", "GPTConfig", "SearchConfig", "LoraConfig", "NgramRecipe"} <= {
        kind.__name__ for kind in kinds
    }
    assert [key for kind in kinds for key in unbounded(kind)] == [], "give them a kind of clearhead.ranges"


def test_a_number_without_an_end_is_seen() -> None:
    @dataclasses.dataclass
    class Careless:
        count: int = 1
        rate: Annotated[float, Ge(0.0)] | None = None
        two: tuple[ranges.Rate, float] = (0.0, 0.0)
        on: bool = True
        fine: ranges.Size | None = None

    globals_of_class = {"Careless.count", "Careless.rate", "Careless.two"}
    assert set(unbounded(Careless)) == globals_of_class


def parameters(group: click.Group) -> Iterator[tuple[str, click.Parameter]]:
    context = click.Context(group)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        if isinstance(command, click.Group):
            yield from parameters(command)
        yield from ((f"{verb} {parameter.name}", parameter) for parameter in command.params)


def test_every_numeric_option_has_two_ends_and_refuses_nan() -> None:
    seen = 0
    for name, parameter in parameters(cli):
        kind: Any = parameter.type
        assert kind not in (click.INT, click.FLOAT), f"{name}: give it a kind of clearhead.ranges"
        if isinstance(kind, click.IntRange | click.FloatRange):
            seen += 1
            assert None not in (kind.min, kind.max), name
            assert_refused(kind, parameter)
    assert seen > 20


def assert_refused(kind: Any, parameter: click.Parameter) -> None:
    for text in ("nan", "inf", "-inf", "1e400", "9" * 30, "9" * 5000):
        with pytest.raises(click.BadParameter) as refused:
            kind.convert(text, parameter, None)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("name", [name for name, kind in vars(ranges).items() if typing.get_origin(kind) is Annotated])
def test_a_range_has_its_ends_in_order(name: str) -> None:
    ends = range_of(getattr(ranges, name))
    assert ends.low is not None
    assert ends.high is not None
    assert ends.low < ends.high < math.inf


def test_ends_are_read_from_whatever_spells_them() -> None:
    assert range_of(Annotated[int, Ge(2), Lt(5)]) == Range(int, 2, 5, high_open=True)
    assert range_of(Annotated[float, Interval(gt=0.0, le=1.0)]) == Range(float, 0.0, 1.0, low_open=True)
    assert range_of(int) == Range(int)


def test_what_no_setting_can_be_is_named() -> None:
    tree = {"a": {"b": math.nan, "c": [1.0, -math.inf]}, "d": 1 << 70, "e": "nan", "f": True, "g": 2**64 - 1}
    assert unusable(tree) == [
        "d: an integer of 71 bits, must have at most 64",
        "a.b = nan: must be a finite number",
        "a.c.1 = -inf: must be a finite number",
    ]


def nested(depth: int, within: Any = 1) -> Any:
    for level in range(depth):
        within = [within] if level % 2 else {"a": within}
    return within


@pytest.mark.long
def test_depth_is_counted_without_calling_itself() -> None:
    assert not too_deep(nested(DEEPEST))
    assert unusable(nested(DEEPEST)) == []
    assert too_deep(nested(DEEPEST + 1))
    assert unusable(nested(100_000)) == [TOO_DEEP]
