"""Arguments of public functions: taken as they are meant, or refused in one line: argument, value, rule."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt

from clearhead.arguments import checked, fitting
from clearhead.errors import ClearheadError, UsageError
from clearhead.ranges import Count, LengthPenalty

pytestmark = pytest.mark.unchecked
TEXTS, PAIRS = str | Iterable[str], str | tuple[str, str] | Iterable[str | tuple[str, str]]
PHRASES = str | Sequence[str] | Sequence[Sequence[str]]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (TEXTS, "ab", "ab"),
        (TEXTS, np.str_("ab"), "ab"),
        (TEXTS, ["a", "b"], ["a", "b"]),
        (TEXTS, (text for text in "ab"), ["a", "b"]),
        (TEXTS, np.array(["a", "b"]), ["a", "b"]),
        (TEXTS, ("a",), ["a"]),
        (TEXTS, [], []),
        (TEXTS, "", ""),
        (PAIRS, ("a", "b"), ("a", "b")),
        (PAIRS, ["a", "b"], ["a", "b"]),
        (PAIRS, [("a", "b"), "c"], [("a", "b"), "c"]),
        (PHRASES, [["a"], ["b", "c"]], [["a"], ["b", "c"]]),
        (PHRASES, (text for text in ["a", "b"]), ["a", "b"]),
        (Count, np.int64(3), 3),
        (float, 1, 1.0),
        (float, np.float32(0.5), 0.5),
        (bool, True, True),
        (Literal["a", "b"], "b", "b"),
        (str | Path, Path("x"), Path("x")),
        (Count | None, None, None),
        (tuple[str, ...], ("a", "b", "c"), ("a", "b", "c")),
        (Any, 5, 5),
        (Mapping[str, str], {"a": "b"}, {"a": "b"}),
        (Mapping[str, Count], {np.str_("a"): np.int64(2)}, {"a": 2}),
        (Callable[[int], str], print, print),
    ],
)
def test_what_fits_is_taken(kind: Any, value: Any, expected: Any) -> None:
    taken = fitting(value, kind, "x")
    assert taken == expected
    assert type(taken) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        (TEXTS, b"ab", "x = b'ab': must be a string or a list of strings"),
        (TEXTS, None, "x = None: must be a string or a list of strings"),
        (TEXTS, {"a": "b"}, "x = {'a': 'b'}: must be a string or a list of strings"),
        (TEXTS, {"a"}, "x = {'a'}: must be a string or a list of strings"),
        (TEXTS, ["a", None], "x[1] = None: must be a string"),
        (TEXTS, np.array([["a"]]), "x[0] = array(['a'], dtype='<U1'): must be a string"),
        (PAIRS, ["a", ("a", "b", "c")], "x[1] = ('a', 'b', 'c'): must be a string or a pair of strings"),
        (PAIRS, 5, "x = 5: must be a string or a pair of strings or a list"),
        (PHRASES, [["a", 1]], "x[0][1] = 1: must be a string"),
        (PHRASES, [None], "x = [None]: must be a string or a list of strings or a list of lists of strings"),
        (Count, 0, "x = 0: must be at least 1"),
        (Count | None, 0, "x = 0: must be at least 1"),
        (LengthPenalty, 500, "x = 500.0: must be at most 10"),
        (LengthPenalty, float("nan"), "x = nan: must be at least 0"),
        (Count, True, "x = True: must be a whole number"),
        (Count, "5", "x = '5': must be a whole number"),
        (int, 1.5, "x = 1.5: must be a whole number"),
        (float, "a", "x = 'a': must be a number"),
        (float, None, "x = None: must be a number"),
        (Annotated[float, Ge(0), Lt(1)], float("nan"), "x = nan: must be at least 0"),
        (Annotated[float, Gt(0), Le(1)], 0.0, "x = 0.0: must be above 0"),
        (Annotated[float, Gt(0), Le(1)], 2.0, "x = 2.0: must be at most 1"),
        (Annotated[float, Ge(0), Lt(1)], 1.0, "x = 1.0: must be below 1"),
        (bool, 1, "x = 1: must be True or False"),
        (Literal["a", "b"], "c", "x = 'c': must be one of a, b"),
        (Literal["a", "b"], ["a"], "x = ['a']: must be one of a, b"),
        (str | Path, b"x", "x = b'x': must be a string or a path"),
        (ClearheadError | None, 5, "x = 5: must be of type ClearheadError or None"),
        (Callable[[int], str], None, "x = None: must be a function"),
        (Mapping[str, str], [], "x = []: must be a mapping"),
        (Mapping[str, str], {"a": 3}, "x['a'] = 3: must be a string"),
        (Mapping[str, str], {3: "a"}, "key of x[3] = 3: must be a string"),
        (Mapping[str, str] | Path, {"a": 3}, "x['a'] = 3: must be a string"),
        (Mapping[str, Count], {"a": 0}, "x['a'] = 0: must be at least 1"),
        (tuple[str, ...], ["a"], "x = ['a']: must be a tuple"),
        (Sequence[ClearheadError], 5, "x = 5: must be a list"),
    ],
)
def test_what_does_not_fit_is_one_line(kind: Any, value: Any, rule: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(rule)}$"):
        fitting(value, kind, "x")


def test_a_mapping_that_fits_stays_what_it_is() -> None:
    given = {"a": "b"}
    assert fitting(given, Mapping[str, str], "x") is given
    taken = fitting({np.str_("a"): "b"}, Mapping[str, str], "x")
    assert [type(key) for key in taken] == [str]


@checked
def greet(name: str, *others: str, times: Count = 1, **more: int) -> str:
    """Greets."""
    return ", ".join([name, *others] * times) + str(more)


def test_a_function_keeps_its_ways() -> None:
    assert greet("a", "b", times=2, c=1) == "a, b, a, b{'c': 1}"
    assert (greet.__name__, greet.__doc__) == ("greet", "Greets.")
    with pytest.raises(UsageError, match=r"^others\[1\] = 3: must be a string$"):
        greet("a", "b", 3)


def test_arguments_that_a_function_does_not_have() -> None:
    @checked
    def translate(texts: str, *, beam: int = 5) -> str:
        return texts * beam

    for call, rule in (
        (
            lambda: translate("a", beams=3),
            "translate: got an unexpected keyword argument 'beams'; did you mean 'beam'?",
        ),
        (translate, "translate: missing a required argument: 'texts'"),
        (lambda: translate("a", 3), "translate: too many positional arguments"),
    ):
        with pytest.raises(UsageError, match=f"^{re.escape(rule)}$"):
            call()


def test_long_values_are_cut() -> None:
    with pytest.raises(UsageError) as caught:
        fitting(b"a" * 100_000, TEXTS, "x")
    assert len(str(caught.value)) < 150
