"""Reads recipes: TOML (or a mapping) to frozen dataclasses; reports all errors at once, with the nearest right keys."""

import dataclasses
import functools
import json
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from clearhead.errors import UsageError, nearest
from clearhead.ranges import DEEPEST, TOO_DEEP, too_deep, unusable
from clearhead.version import VERSION

if TYPE_CHECKING:
    import pydantic

T = TypeVar("T")
Tree = dict[str, Any]
WRITER = "clearhead"
"""Key of a recipe for the version of clearhead that wrote it."""
SHOWN = 100  # characters of a value in an error


def read_toml(path: Path) -> Tree:
    """Reads a TOML file.

    Raises:
        UsageError: the file is missing, is not UTF-8 or is not TOML (with the line).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"recipe {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"recipe {str(path)!r} is not UTF-8 at byte {error.start}") from error
    tree = _loads(text, f"recipe {str(path)!r}")
    if problems := unusable(tree):
        raise UsageError(f"recipe {str(path)!r}: " + "; ".join(problems))
    return tree


def _loads(text: str, source: str) -> Tree:
    """Reads TOML; raises UsageError for text that is not TOML, or that Python cannot read."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{source}: {TOO_DEEP}") from error
    except ValueError as error:  # Python reads no number of more than 4,300 digits
        raise UsageError(f"{source}: a number has too many digits: integers have 64 bits at most") from error


def write_toml(tree: Mapping[str, Any]) -> str:
    """Returns ``tree`` as TOML text, without keys whose value is None, since None is the default of all such keys."""
    import tomlkit

    return tomlkit.dumps(_without_none(tree))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """Returns ``base`` with the values of ``over`` in place of its own, table by table."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse_overrides(pairs: Iterable[str]) -> Tree:
    """Turns ``a.b=value`` strings into a tree; a value that is not TOML (``0.1``, ``true``, ``[1, 2]``) is a string.

    Raises:
        UsageError: a pair has no ``=`` or no key.
    """
    tree: Tree = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not all(key.strip().split(".")):
            raise UsageError(f"--set {shown(pair)}: expected key=value, for example --set model.d_model=256")
        path = key.strip().split(".")
        try:
            value = _loads(f"v = {text.strip()}", f"--set {shown(pair)}")["v"]
        except UsageError as error:
            if not isinstance(error.__cause__, tomllib.TOMLDecodeError):
                raise
            value = text.strip()
        if len(path) >= DEEPEST or too_deep(value):
            raise UsageError(f"--set {shown(pair)}: {TOO_DEEP}")
        if problems := unusable({key.strip(): value}):
            raise UsageError(f"--set {'; '.join(problems)}")
        tree = merge(tree, _nested(path, value))
    return tree


def shown(value: object) -> str:
    """Returns a value as an error shows it: its beginning alone where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def table(tree: Mapping[str, Any], key: str) -> Tree:
    """Returns a table of an unchecked recipe; a value that is no table is empty here and refused by ``parse``."""
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def parse(cls: type[T], tree: Mapping[str, Any], *, source: str) -> T:
    """Builds the frozen dataclass ``cls`` (nested ones too) from ``tree``.

    If a table leaves a key out, its value is that in the default of the table's field, which may differ from the
    default of the table's class.

    Args:
        cls: a dataclass whose annotations give types and, by ``annotated_types``, ranges.
        tree: nested mapping, as TOML gives it.
        source: where the values come from, for messages.

    Raises:
        UsageError: there are unknown keys (the message names the nearest right ones), wrong types or values out of
            range; one line lists them all, and says if a later version wrote the tree.
    """
    import pydantic

    newer, tree = newer_than_this(tree), {key: value for key, value in tree.items() if key != WRITER}
    problems = unusable(tree) or _unknown_keys(cls, tree, "")
    if not problems:
        try:
            # strict, since TOML has types, and a string instead of a number is a mistake; through JSON, because strict
            # pydantic accepts a JSON list as a tuple, but not a Python list
            whole = json.dumps(_over_defaults(cls, tree), default=_plain)
            adapter: pydantic.TypeAdapter[T] = _adapter(cast(Any, cls))
            return adapter.validate_json(whole, strict=True)
        except pydantic.ValidationError as error:
            problems = [_explain(item) for item in error.errors(include_url=False)]
    raise UsageError(f"{source}: " + "; ".join(problems) + newer)


def rebuilt(cls: type[T], tree: Mapping[str, Any]) -> T:
    """Builds the dataclass that ``as_tree`` made ``tree`` of, on its way through JSON; checks nothing of its own.

    Quicker than ``parse`` where a program wrote the tree and a checksum vouches for it.
    """
    kinds = typing.get_type_hints(cls)
    return cls(**{name: _rebuilt(kinds[name], value) for name, value in tree.items()})


def _rebuilt(kind: Any, value: Any) -> Any:
    """Returns a value of JSON as a field of this type holds it."""
    if isinstance(value, dict):
        table = _table_of(kind)
        return value if table is None else rebuilt(table, value)
    if not isinstance(value, list):
        return value
    sequence, item = _sequence_of(kind)
    if item is not None:
        value = [_rebuilt(item, each) for each in value]
    return tuple(value) if sequence is tuple else value


@functools.cache
def _sequence_of(kind: Any) -> tuple[type, Any]:
    """Returns what a field of this type holds JSON's lists as, and the type of items that are not as JSON has them."""
    for part in (kind, *typing.get_args(kind)):
        if (sequence := typing.get_origin(part)) in (list, tuple):
            item = typing.get_args(part)[0] if typing.get_args(part) else None
            deep = typing.get_origin(item) or dataclasses.is_dataclass(item)
            return sequence, item if deep else None
    return list, None


@functools.cache
def _adapter(cls: type[Any]) -> "pydantic.TypeAdapter[Any]":
    """What checks and builds a dataclass; made once, as that takes as long as many uses."""
    import pydantic

    return pydantic.TypeAdapter(cls)


def _plain(value: object) -> int | float | str:
    """Returns what JSON has for a value that it does not know: NumPy's numbers as numbers, all else as text."""
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else str(value)


def newer_than_this(tree: Mapping[str, Any]) -> str:
    """Returns the part of an error that says a later version, with other keys, wrote the recipe; empty if none did."""
    written = str(tree.get(WRITER, ""))
    if _version(written) <= _version(VERSION):
        return ""
    return f"; it was written by clearhead {written}, this is {VERSION}"


def _version(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)[:3]]


def differences(old: Tree, new: Tree, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Returns the keys whose values differ, each with its old and new value; ``name`` and ``about`` do not count."""
    changes: dict[str, tuple[Any, Any]] = {}
    for key in new:
        before, after = old.get(key), new[key]
        if isinstance(before, dict) and isinstance(after, dict):
            changes |= differences(before, after, f"{prefix}{key}.")
        elif before != after and prefix + key not in ("name", "about"):
            changes[prefix + key] = (before, after)
    return changes


def as_tree(config: Any) -> Tree:
    """Returns a config dataclass as a nested dict."""
    return dataclasses.asdict(config)


def value_at(tree: Mapping[str, Any], key: str) -> Any:
    """Returns the value of a full key such as ``model.d_model``; None where a recipe has no such key."""
    table, _, rest = key.partition(".")
    value = tree.get(table)
    if not rest:
        return value
    return value_at(value, rest) if isinstance(value, Mapping) else None


def _nested(path: list[str], value: Any) -> Tree:
    return {path[0]: _nested(path[1:], value) if len(path) > 1 else value}


def _fields(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _unknown_keys(cls: type, tree: Mapping[str, Any], prefix: str) -> list[str]:
    fields = _fields(cls)
    problems: list[str] = []
    for name, value in tree.items():
        if name not in fields:
            deeper = _below(cls, name, prefix)
            hint = nearest(deeper[0], deeper) if deeper else nearest(name, fields)
            problems.append(f"unknown key {shown(prefix + name)}{hint}")
        elif (row := _rows_of(fields[name])) is not None:
            problems += _unknown_in_rows(row, value, f"{prefix}{name}")
        elif (table := _table_of(fields[name])) is not None:
            if isinstance(value, Mapping):
                problems += _unknown_keys(table, value, f"{prefix}{name}.")
            elif value is not None:
                problems.append(f"{prefix}{name} = {shown(value)}: this is a table, set its keys")
    return problems


def _unknown_in_rows(cls: type, value: Any, key: str) -> list[str]:
    """Returns what is unknown in a list of tables; what is none of it is left to pydantic."""
    if isinstance(value, Mapping):
        return [f"{key}: this is a list of tables, write [[{key}]]"]
    rows = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list | tuple) else []
    return [problem for row in rows for problem in _unknown_keys(cls, row, f"{key}.")]


def _below(cls: type, name: str, prefix: str) -> list[str]:
    """Returns the full keys that end in ``name`` in the tables of ``cls``, those of outer tables first."""
    tables = {f"{prefix}{field}.": table for field, kind in _fields(cls).items() if (table := _table_of(kind))}
    own = [place + name for place, table in tables.items() if name in _fields(table)]
    return own + [key for place, table in tables.items() for key in _below(table, name, place)]


def _table_of(kind: Any) -> type | None:
    """Returns the dataclass that a field of this type holds, optional or not; None if it holds something else."""
    if _rows_of(kind) is not None:
        return None
    types = [part for part in (kind, *typing.get_args(kind)) if isinstance(part, type)]
    tables = [part for part in types if dataclasses.is_dataclass(part)]
    return tables[0] if len(tables) == 1 else None


def _rows_of(kind: Any) -> type | None:
    """Returns the dataclass of which a field holds a list, each a table; None if it holds something else."""
    item = typing.get_args(kind)[0] if typing.get_origin(kind) in (list, tuple) and typing.get_args(kind) else None
    return item if isinstance(item, type) and dataclasses.is_dataclass(item) else None


def _over_defaults(cls: type, tree: Mapping[str, Any]) -> Tree:
    """Merges the tables of ``tree`` into the defaults of their fields."""
    whole = dict(tree)
    for field in dataclasses.fields(cls):
        table, factory = tree.get(field.name), field.default_factory
        if isinstance(table, Mapping) and factory is not dataclasses.MISSING:
            default = factory()
            whole[field.name] = merge(as_tree(default), table) if dataclasses.is_dataclass(default) else table
    return whole


def _explain(item: Any) -> str:
    """Returns an error of pydantic as "key = value: rule"."""
    key = ".".join(str(part) for part in item["loc"])
    value, message = item["input"], item["msg"]
    expected = item.get("ctx", {}).get("expected")
    if item["type"] == "literal_error" and expected:
        known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        return f"{key} = {shown(value)}: must be one of {', '.join(known)}" + _did_you_mean(value, known)
    # errors raised by a config's own __post_init__ are complete sentences
    message = message.removeprefix("Value error, ")
    return (
        f"{key} = {shown(value)}: {message[0].lower() + message[1:]}"
        if key and item["type"] != "value_error"
        else message
    )


def _did_you_mean(value: object, known: list[str]) -> str:
    hint = nearest(str(value), known)
    return hint if "did you mean" in hint else ""


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
