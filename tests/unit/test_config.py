"""Recipes: TOML to dataclasses, every mistake at once, the nearest right key, overrides, and the way back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from clearhead.config import (
    as_tree,
    merge,
    parse,
    parse_overrides,
    read_toml,
    rebuilt,
    table,
    value_at,
    write_toml,
)
from clearhead.errors import UsageError


@dataclass(frozen=True)
class Inner:
    d_model: Annotated[int, Ge(1)] = 8
    dropout: float = 0.0
    kind: Literal["layer", "rms"] = "layer"
    betas: tuple[float, float] = (0.9, 0.98)
    heads: int | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        if self.d_model == 13:
            raise ValueError("model.d_model = 13: brings bad luck")


@dataclass(frozen=True)
class Outer:
    name: str = ""
    model: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Deeper:
    inner: Inner = field(default_factory=lambda: Inner(dropout=0.5, kind="rms"))
    n: int = 1


@dataclass(frozen=True)
class Deep:
    deeper: Deeper = field(default_factory=lambda: Deeper(n=2))
    maybe: Inner | None = None


def problem(tree: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        parse(Outer, tree, source="recipe")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_values_and_defaults() -> None:
    config = parse(Outer, {"model": {"d_model": 4, "dropout": 1, "betas": [0.5, 0.6]}}, source="recipe")
    assert config == Outer(model=Inner(d_model=4, dropout=1.0, betas=(0.5, 0.6)))


def test_a_table_that_is_none_is_empty_before_it_is_refused() -> None:
    assert table({"train": {"seed": 1}}, "train") == {"seed": 1}
    assert table({"train": 3}, "train") == table({}, "train") == {}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"modle": {}}, "unknown key 'modle'; did you mean 'model'?"),
        ({"model": {"d_modle": 1}}, "unknown key 'model.d_modle'; did you mean 'd_model'?"),
        ({"d_model": 1}, "unknown key 'd_model'; did you mean 'model.d_model'?"),
        ({"model": 3}, "model = 3: this is a table, set its keys"),
        ({"model": {"d_model": 0}}, "model.d_model = 0: input should be greater than or equal to 1"),
        ({"model": {"d_model": "many"}}, "model.d_model = 'many': input should be a valid integer"),
        ({"model": {"d_model": 1.5}}, "model.d_model = 1.5: input should be a valid integer"),
        ({"model": {"kind": "rsm"}}, "model.kind = 'rsm': must be one of layer, rms; did you mean 'rms'?"),
        ({"model": {"kind": "zzz"}}, "model.kind = 'zzz': must be one of layer, rms"),
        ({"model": {"d_model": 13}}, "model.d_model = 13: brings bad luck"),
        ({"model": {"betas": [0.5]}}, "model.betas.1 = [0.5]: field required"),
    ],
)
def test_a_mistake_is_named_with_its_rule(tree: dict[str, Any], expected: str) -> None:
    assert problem(tree).startswith(f"recipe: {expected}")


@pytest.mark.parametrize(
    "tree", [{"d_model": "8"}, {"dropout": "0.1"}, {"bias": "yes"}, {"bias": 1}, {"d_model": True}]
)
def test_a_value_of_another_type_is_a_mistake(tree: dict[str, Any]) -> None:
    """TOML has types: text where a number is due is a slip, and 1 is not true."""
    assert f"model.{next(iter(tree))} = " in problem({"model": tree})


def test_all_mistakes_come_at_once() -> None:
    assert problem({"nam": "x", "model": {"bais": True}}).count("unknown key") == 2
    message = problem({"model": {"d_model": 0, "kind": "x"}})
    assert "d_model = 0" in message
    assert "kind = 'x'" in message


def test_overrides_are_toml_values_or_plain_text() -> None:
    pairs = ["a.b=1e-4", "a.c=true", "a.d=[1, 2]", "a.e=hello world", " f = 'x' ", "a.b=2", "g=a=b", "h="]
    expected = {"a": {"b": 2, "c": True, "d": [1, 2], "e": "hello world"}, "f": "x", "g": "a=b", "h": ""}
    assert parse_overrides(pairs) == expected


@pytest.mark.parametrize("pair", ["a", "=1", "a..b=1", ".a=1", ""])
def test_an_override_without_key_or_value_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match=r"expected key=value, for example --set model\.d_model=256"):
        parse_overrides([pair])


def test_merge_goes_table_by_table_and_changes_neither() -> None:
    base, over = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9}, "d": {"e": 4}}
    assert merge(base, over) == {"a": {"b": 9, "c": 2}, "d": {"e": 4}}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    config = Outer("零\"'\n", Inner(3, 1e-9, "rms", (0.1, 0.25), None, False))
    (tmp_path / "recipe.toml").write_text(write_toml(as_tree(config)), encoding="utf-8")
    assert parse(Outer, read_toml(tmp_path / "recipe.toml"), source="recipe") == config


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = = 2\n", "is not valid TOML: .*line 1"),
        (b"a = '\xff'", "is not UTF-8 at byte 5"),
        (None, "cannot be read: No such"),
    ],
)
def test_a_file_that_is_no_recipe(content: bytes | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"recipe '.*recipe\.toml' {expected}"):
        read_toml(path)


def test_a_table_is_laid_over_the_default_of_its_field() -> None:
    """Not over the default of its class, at any depth."""
    config = parse(Deep, {"deeper": {"inner": {"d_model": 5}}, "maybe": {"bias": False}}, source="here")
    assert config == Deep(Deeper(Inner(d_model=5, dropout=0.5, kind="rms"), n=2), Inner(bias=False))
    assert parse(Deep, {}, source="here") == Deep()


def test_a_table_that_may_be_left_out_knows_its_keys() -> None:
    with pytest.raises(UsageError, match=r"here: unknown key 'maybe.bais'; did you mean 'bias'\?"):
        parse(Deep, {"maybe": {"bais": False}}, source="here")
    with pytest.raises(UsageError, match=r"here: maybe = 3: this is a table, set its keys"):
        parse(Deep, {"maybe": 3}, source="here")


def test_a_recipe_of_a_later_version_is_named_where_it_does_not_fit() -> None:
    known = {"clearhead": "99.1.2", "name": "x"}
    assert parse(Outer, known, source="here") == Outer(name="x"), "what fits is taken"
    with pytest.raises(UsageError, match=r"unknown key 'shape'.*; it was written by clearhead 99\.1\.2, this is \d"):
        parse(Outer, {**known, "shape": 1}, source="here")
    for earlier in ("0.0.1", "", "what"):
        with pytest.raises(UsageError) as raised:
            parse(Outer, {"clearhead": earlier, "shape": 1}, source="here")
        assert "it is of" not in str(raised.value)


def test_a_value_by_its_full_key() -> None:
    tree = {"a": {"b": {"c": 1}}, "d": 2}
    assert [value_at(tree, key) for key in ("a.b.c", "a.b", "d", "d.e", "a.x.c", "x")] == [
        1,
        {"c": 1},
        2,
        None,
        None,
        None,
    ]


@dataclass(frozen=True)
class Lists:
    names: list[str]
    pairs: list[tuple[str, str]]
    tables: tuple[Inner, ...]
    maybe: tuple[tuple[int, ...], ...] | None = None
    inner: Inner | None = None
    plain: Any = None


@pytest.mark.parametrize("more", [{}, {"maybe": ((1, 2), ()), "inner": Inner(2), "plain": [[1], "x"]}], ids=str)
def test_a_dataclass_is_rebuilt_from_json(more: dict[str, Any]) -> None:
    config = Lists(["a"], [("a", "b")], (Inner(), Inner(3, betas=(0.5, 0.6))), **more)
    assert rebuilt(Lists, json.loads(json.dumps(as_tree(config)))) == config
