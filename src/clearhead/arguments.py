"""Checks the arguments of public functions against their annotations, so that a wrong one gives one clear line."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NoReturn, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from clearhead.brief import brief
from clearhead.errors import UsageError, nearest
from clearhead.ranges import range_of

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
NOT_A_LIST = (str, bytes, bytearray, Mapping, AbstractSet)
"""What can be iterated over, but is no list: its items are not texts in an order."""


_PLAIN: dict[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    Path: "a path",
    Mapping: "a mapping",
    Callable: "a function",
    None: "None",
    type(None): "None",
}
"""How types are described."""


class _WrongArgumentError(Exception):
    """A value does not fit an annotation."""

    def __init__(self, where: str, value: object, rule: str, *, is_range: bool = False) -> None:
        super().__init__(where, value, rule)
        self.where, self.value, self.rule = where, value, rule
        self.depth = where.count("[") + is_range
        """How much of the annotation the value does fit: the lists around it, and the type of a number out of range."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Checks the arguments of ``function`` against its annotations at each call, before it runs.

    Where a list is asked for, anything that gives items in an order will do, a generator or an array too, and becomes
    a list; a string never does. NumPy's strings and numbers become those of Python. Ranges are read from ``Annotated``.

    The function then raises UsageError for an argument that does not fit, and for one that it does not have or that is
    missing; the line names the argument, its value and the rule.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            unknown = next((name for name in kwargs if name not in signature.parameters), None)
            hint = nearest(unknown, signature.parameters) if unknown else ""
            raise UsageError(f"{function.__name__}: {error}{hint}") from None
        hints = _hints(function)
        for name, value in bound.arguments.items():
            if name in hints and signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
                kind: Any = tuple.__class_getitem__((hints[name], ...)) if several else hints[name]
                bound.arguments[name] = fitting(value, kind, name)
        return function(*bound.args, **bound.kwargs)

    return call


def fitting(value: Any, kind: Any, name: str) -> Any:
    """Returns ``value`` as the annotation ``kind`` asks for it; ``name`` is what an error calls it.

    Raises:
        UsageError: it does not fit.
    """
    try:
        return _fit(value, kind, name)
    except _WrongArgumentError as wrong:
        raise UsageError(f"{wrong.where} = {brief(wrong.value)}: must be {wrong.rule}") from None


def fitted(config: T) -> T:
    """Returns a dataclass whose fields are as their annotations ask for them.

    Raises:
        UsageError: one does not fit.
    """
    kinds = get_type_hints(type(config), include_extras=True)
    fields: Any = dataclasses.fields(config)  # type: ignore[arg-type]
    return type(config)(
        **{field.name: fitting(getattr(config, field.name), kinds[field.name], field.name) for field in fields}
    )


@functools.cache
def _hints(function: Callable[..., object]) -> dict[str, Any]:
    return get_type_hints(function, include_extras=True)


def _fit(value: Any, kind: Any, where: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return value
    if origin is Annotated:
        return _in_range(_fit(value, parts[0], where), kind, where)
    if origin in (Union, UnionType):
        return _one_of(value, kind, where)
    if origin is Literal:
        return value if isinstance(value, str | int) and value in parts else _refuse(where, value, kind)
    if origin is tuple:
        return _fit_tuple(value, kind, where)
    if origin in (list, Sequence, Iterable):
        if isinstance(value, NOT_A_LIST) or not isinstance(value, Iterable):
            _refuse(where, value, kind)
        return [_fit(item, parts[0], f"{where}[{number}]") for number, item in enumerate(value)]
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return _fit_mapping(value, parts, where)
    return _fit_plain(value, origin or kind, where)


def _fit_mapping(value: Mapping[Any, Any], parts: tuple[Any, ...], where: str) -> Any:
    """Fits keys and values; a mapping that has nothing to change stays the one that it is."""
    fitted = {
        _fit(key, parts[0], f"key of {where}[{key!r}]"): _fit(each, parts[1], f"{where}[{key!r}]")
        for key, each in value.items()
    }
    same = all(key is own and each is value[own] for own, (key, each) in zip(value, fitted.items(), strict=True))
    return value if same else fitted


def _fit_plain(value: Any, kind: Any, where: str) -> Any:
    """Fits a value to a class, of which some are more than an isinstance check."""
    if kind is str and isinstance(value, str):
        return value if type(value) is str else str(value)
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, os.PathLike) and isinstance(path := os.fspath(value), str):
        return Path(path)
    fits = callable(value) if kind is Callable else kind in (None, type(None)) and value is None
    if fits or (kind not in (None, int, float) and kind is not Callable and isinstance(value, kind)):
        return value
    _refuse(where, value, kind)


def _fit_tuple(value: Any, kind: Any, where: str) -> tuple[Any, ...]:
    parts = get_args(kind)
    if not isinstance(value, tuple):
        _refuse(where, value, kind)
    parts = parts[:1] * len(value) if parts[-1] is ... else parts
    if len(parts) != len(value):
        _refuse(where, value, kind)
    return tuple(_fit(item, part, f"{where}[{at}]") for at, (item, part) in enumerate(zip(value, parts, strict=True)))


def _one_of(value: Any, kind: Any, where: str) -> Any:
    """Fits a value to the first member of a union that takes it; of a list whose item is wrong, the item is named."""
    if Any in get_args(kind):
        return value
    value = list(value) if isinstance(value, Iterator) else value  # it can be read once only, and members each read it
    nearest_first: list[_WrongArgumentError] = []
    for member in get_args(kind):
        try:
            return _fit(value, member, where)
        except _WrongArgumentError as wrong:
            nearest_first.append(wrong)
    nearest_first.sort(key=lambda wrong: wrong.depth, reverse=True)
    if nearest_first[0].depth > nearest_first[1].depth:
        raise nearest_first[0]
    _refuse(where, value, kind)


def _in_range(value: Any, kind: Any, where: str) -> Any:
    _, low, high, low_open, high_open = range_of(kind)
    if low is not None and not (value > low if low_open else value >= low):
        rule = f"above {low:g}" if low_open else f"at least {low:g}"
    elif high is not None and not (value < high if high_open else value <= high):
        rule = f"below {high:g}" if high_open else f"at most {high:g}"
    else:
        return value
    raise _WrongArgumentError(where, value, rule, is_range=True)


def _refuse(where: str, value: object, kind: Any) -> NoReturn:
    raise _WrongArgumentError(where, value, _described(kind))


def _described(kind: Any) -> str:
    """Describes an annotation in a few words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _described(parts[0])
    if origin in (Union, UnionType):
        members = list(dict.fromkeys(map(_described, parts)))
        return functools.reduce(lambda first, last: f"{first} or {last}", members)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (list, Sequence, Iterable):
        inner = {str: "strings", Sequence[str]: "lists of strings"}.get(parts[0])
        return f"a list of {inner}" if inner else "a list"
    if origin is tuple:
        return "a pair of strings" if parts == (str, str) else "a tuple"
    return _PLAIN.get(origin or kind) or f"of type {(origin or kind).__name__}"
