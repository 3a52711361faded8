"""Room on this machine: what is reckoned is what is built; what cannot fit is refused before anything is."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clearhead.checkpoint import load_model_tensors, model_tensors
from clearhead.config import merge
from clearhead.data.labels.labels import Labels
from clearhead.runs.text_parts import ModelSizes
from clearhead.tasks import room
from clearhead.tasks.catalog import AnyLearnedFamily, family_of_recipe, prepare_job
from clearhead.tasks.family import LearnedFamily
from clearhead.tasks.room import (
    Needed,
    TooLargeError,
    at_most,
    build_here,
    build_to_load,
    by_depth,
    check_room,
    in_units,
    needed,
)
from clearhead.tasks.translation.translator import Translator
from tests.toy import CLASSIFY, LANGUAGE_MODEL, MASKED, RECIPE

RECURRENT = {"d_model": 32, "n_layers": 3, "max_seq_len": 64}
TREES: dict[str, dict[str, Any]] = {
    "translation": RECIPE,
    "rotary and gated": merge(RECIPE, {"model": {"position": "rotary", "block": {"activation": "swiglu"}}}),
    "rnn translation": {**RECIPE, "task": "rnn_translation", "model": RECURRENT},
    "language model": LANGUAGE_MODEL,
    "rnn language model": {"task": "rnn_language_model", "model": RECURRENT},
    "masked": MASKED,
    "classify": CLASSIFY,
}
SIZES = ModelSizes(300, 300, 0, Labels(("a", "b", "c"), pairs=False))


def family_and_recipe(tree: dict[str, Any]) -> tuple[AnyLearnedFamily, Any]:
    family = family_of_recipe(tree, "here")
    assert isinstance(family, LearnedFamily)
    return family, family.parse(tree, "here")


@pytest.mark.parametrize("name", TREES)
def test_what_is_reckoned_is_what_is_built(name: str) -> None:
    family, recipe = family_and_recipe(TREES[name])
    model = family.build(recipe, SIZES)
    weights = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    need = needed(family.build, recipe, SIZES)
    assert need is not None
    assert need.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert need.weights == weights < at_most(recipe, SIZES)
    copies = 4 if recipe.optim.ema_decay else 3  # gradients, two moments, an average
    assert need.state == copies * 4 * need.parameters


def test_a_model_larger_than_the_machine_is_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    family, recipe = family_and_recipe(LANGUAGE_MODEL)
    need = needed(family.build, recipe, SIZES)
    assert need is not None
    monkeypatch.setattr(room, "memory_limit", lambda device: need.weights - 1)
    shown = rf"model: {need.parameters:,} parameters are {in_units(need.weights)} of weights, this machine has "
    with pytest.raises(TooLargeError, match=shown):
        check_room(family.build, recipe, SIZES)
    monkeypatch.setattr(room, "memory_limit", lambda device: need.weights)
    check_room(family.build, recipe, SIZES)
    with pytest.raises(
        TooLargeError, match=rf"take {in_units(need.weights + need.state)} with gradients and optimizer"
    ):
        check_room(family.build, recipe, SIZES, torch.device("cpu"))


@pytest.mark.long
def test_the_largest_that_a_recipe_may_say_takes_no_time_and_no_memory() -> None:
    largest = {"d_model": 2**20, "n_heads": 2**10, "n_kv_heads": 1, "d_ff": 2**20, "n_layers": 2**11}
    tree = merge(LANGUAGE_MODEL, {"model": {**largest, "max_seq_len": 2**24}, "train": {"batch_tokens": 2**30}})
    family, recipe = family_and_recipe(tree)
    with pytest.raises(TooLargeError, match=r"PiB of weights, this machine has "):
        check_room(family.build, recipe, ModelSizes(2**22, 2**22))


def test_nothing_is_read_for_a_model_that_cannot_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda device: 10_000)
    with pytest.raises(TooLargeError):
        prepare_job(RECIPE, "here", tmp_path / "no such text")


def test_a_run_that_has_no_room_is_not_loaded(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda device: 10_000)
    with pytest.raises(TooLargeError, match=r"this machine has 9\.77 KiB of memory"):
        Translator.load(toy_run)


def test_what_cannot_be_built_without_content_is_left_to_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda device: 1)
    _, recipe = family_and_recipe(LANGUAGE_MODEL)

    def build(recipe: Any, sizes: ModelSizes) -> nn.Module:
        return nn.Linear(int(torch.ones(1).item()), 1)  # which a tensor without content has not

    check_room(build, recipe, SIZES)


def test_depth_is_reckoned_from_two_models() -> None:
    _, recipe = family_and_recipe(merge(RECIPE, {"model": {"n_encoder_layers": 2000, "n_decoder_layers": 7}}))
    asked = []

    def measure(shallow: Any) -> Needed:
        layers = shallow.model.n_encoder_layers, shallow.model.n_decoder_layers
        asked.append(layers)
        return Needed(1 + 10 * layers[0] + 100 * layers[1], 5, 0)

    assert by_depth(measure, recipe, most=8) == Needed(1 + 20_000 + 700, 5, 0)
    assert asked == [(8, 7), (9, 7)]
    assert by_depth(measure, recipe, most=3) == Needed(1 + 20_000 + 700, 5, 0)
    assert by_depth(measure, dataclasses.replace(recipe), most=5000) == Needed(1 + 20_000 + 700, 5, 0)


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (1023, "1,023 B"), (1536, "1.50 KiB"), (1 << 90, "1,048,576.00 ZiB")]
)
def test_bytes_are_shown_in_units(size: int, shown: str) -> None:
    assert in_units(size) == shown


@pytest.mark.parametrize("name", TREES)
def test_a_model_that_is_loaded_next_draws_no_random_number(name: str) -> None:
    family, recipe = family_and_recipe(TREES[name])
    drawn, seeded = build_here(family.build, recipe, SIZES), torch.get_rng_state()
    model = build_to_load(family.build, recipe, SIZES)
    assert torch.equal(torch.get_rng_state(), seeded)
    own, theirs = dict(drawn.named_parameters()), dict(model.named_parameters())
    assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in theirs.items()}
    for key, table in drawn.named_buffers():
        assert torch.equal(model.get_buffer(key), table), key
    load_model_tensors(model, model_tensors(drawn), "here")
    assert all(torch.equal(theirs[key], value) for key, value in own.items())
