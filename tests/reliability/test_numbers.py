"""Extreme numbers at every key of every recipe: refused in one line, or reckoned and, where too large, said to be so.

The short form reads recipes and reckons their models; the long form goes through ``clearhead train --dry-run``.
"""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.config import merge, parse_overrides
from clearhead.errors import ClearheadError
from clearhead.ranges import range_of
from clearhead.tasks.catalog import family_of_recipe
from clearhead.tasks.family import FEWEST, LearnedFamily
from clearhead.tasks.room import check_room
from tests.toy import BASELINES, CLASSIFY, LANGUAGE_MODEL, MASKED, RECIPE, clearhead, write_recipe
from tests.unit.test_ranges import numbers_in

RECIPES: dict[str, dict[str, Any]] = {
    "translation": {"task": "translation", **RECIPE},
    "language_model": LANGUAGE_MODEL,
    "masked": MASKED,
    "classify": CLASSIFY,
    **{task: {"task": task, **tree} for task, tree in BASELINES.items()},
}
BEYOND = ("nan", "inf", "-inf", "-1", "1e308", "-5e-324", str(2**63 - 1), str(-(2**63)), str(2**64), "9" * 5000)
BEYOND += ("0x" + "f" * 5000, "[" * 500 + "]" * 500, "true", "'many'", "1979-05-27")


def keys_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every key of a recipe that is a number, with its kind."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{prefix}{field.name}.")
        elif not isinstance(value, tuple):
            yield from ((prefix + field.name, kind) for kind in numbers_in(hints[field.name]))


def cases() -> list[tuple[str, str, tuple[str, ...]]]:
    """Returns each recipe with each of its numbers, and the ends of the number's range."""
    return [
        (name, key, tuple(repr(end) for end in (range_of(kind).low, range_of(kind).high)))
        for name, tree in RECIPES.items()
        for key, kind in keys_of(family_of_recipe(tree, "here").parse(tree, "here"))
    ]


CASES = cases()
SLOW = ("train.batch_tokens", "data.workers")


@given(st.data())
@settings(max_examples=150, deadline=5000, derandomize=True)
def test_an_extreme_number_is_refused_in_one_line_or_reckoned(data: st.DataObject) -> None:
    name, key, ends = data.draw(st.sampled_from(CASES))
    value = data.draw(st.sampled_from(BEYOND + ends))
    said = problem(name, f"{key}={value}")
    assert "\n" not in said
    assert len(said) < 400


def problem(name: str, setting: str) -> str:
    """Returns what is said of a recipe with a key changed; empty where it may be trained here."""
    tree, family = RECIPES[name], family_of_recipe(RECIPES[name], "here")
    try:
        recipe = family.parse(merge(tree, parse_overrides([setting])), "here")
        if isinstance(family, LearnedFamily):
            check_room(family.build, recipe, FEWEST, torch.device("cpu"))
    except ClearheadError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", str(2**64), "9" * 5000])
@pytest.mark.parametrize("name", RECIPES)
def test_no_key_takes_what_is_no_number(name: str, value: str) -> None:
    family, keys = family_of_recipe(RECIPES[name], "here"), [key for task, key, _ in CASES if task == name]
    for key in keys:
        with pytest.raises(ClearheadError):
            family.parse(merge(RECIPES[name], parse_overrides([f"{key}={value}"])), "here")


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run_is_refused_in_one_line_or_done(
    name: str, toy_data: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text"
    text.mkdir()
    for split in ("train", "valid"):
        (text / f"{split}.txt").write_text("a cat sees the river\n\nthe dog walks home\n" * 30, encoding="utf-8")
    data = {"translation": toy_data, "classify": labelled}.get(name, text)
    recipe = write_recipe(tmp_path / "recipe.toml", RECIPES[name])
    # every fourth key; the upper ends of sizes are trained for a few steps, which takes minutes
    for _, key, ends in [case for case in CASES if case[0] == name][::4]:
        for value in ends[:1] if key.startswith(("model.", "finetune.")) or key in SLOW else ends:
            said = clearhead(capsys, "train", recipe, "--data", data, "--dry-run", "--set", f"{key}={value}")
            lines = said.err.splitlines()
            assert said.code in (0, 2, 3, 4), (key, value, said.err)
            assert said.code == 0 or (len(lines[-1]) < 500 and "unexpected" not in lines[-1]), (key, value, lines[-1])


def test_what_an_outside_campaign_tried(toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.toml")
    for setting in (
        "model.n_encoder_layers=10000000",
        "model.d_model=10000000",
        "model.max_seq_len=1000000000",
        "tokenizer.vocab_size=4611686018427387904",
        "train.batch_tokens=9223372036854775807",
        "optim.eps=nan",
        "train.lr=inf",
        f"train.seed={'9' * 5000}",
        f"{'.'.join('a' * 1000)}=1",
    ):
        for verb in (("train", recipe, "--data", toy_data, "--dry-run"), ("plan", "--rate", "1", recipe)):
            said = clearhead(capsys, *verb, "--set", setting)
            assert said.code == 2, said.err
            assert said.err.count("\n") == 1
            assert len(said.err) < 300
