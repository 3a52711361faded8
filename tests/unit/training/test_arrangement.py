"""Computed again, compiled or not: the same losses, gradients and running statistics; what cannot be is refused."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from clearhead.data.translation import collate
from clearhead.errors import UsageError
from clearhead.loss import _COMPILED, LossConfig
from clearhead.models.rnn import RNNConfig, RNNLanguageModel
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import Norm
from clearhead.tasks.translation.recipe import translation_loss
from clearhead.training.arrangement import (
    _wide,
    arrange,
    check_arrangement,
    compile_layer,
    for_all_processes,
    is_sharded,
    layers_of,
    sums_of,
)
from clearhead.training.config import MachineConfig, ValidationConfig
from clearhead.training.distributed import LossModule
from tests.compiled import FAMILIES, told
from tests.small import VOCAB, random_rows, small, small_gpt

BATCH = collate(random_rows([3, 5, 4], seed=1), random_rows([6, 2, 5], seed=2))


def gradients(model: nn.Module, inside: nn.Module) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(5)
    loss, _ = inside(lambda: translation_loss(model, BATCH, LossConfig()))  # type: ignore[arg-type]
    loss.backward()
    return float(loss.detach()), [one.grad for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize("words", [{"attn_dropout": 0.2, "mlp_dropout": 0.2, "stochastic_depth": 0.3}, {}])
def test_computing_again_draws_the_same_dropout_and_changes_no_bit(words: dict[str, Any]) -> None:
    plain = small(dropout=0.3, block=BlockConfig(**words)).train()
    again = copy.deepcopy(plain)
    expected = gradients(plain, LossModule(plain))
    found = gradients(again, arrange(again, MachineConfig(checkpoint_activations=True)))
    assert found[0] == expected[0]
    assert all(map(torch.equal, found[1], expected[1]))


def test_computing_again_keeps_the_inputs_of_layers_alone() -> None:
    def kept(machine: MachineConfig) -> int:
        model, sizes = small(dropout=0.1).train(), []
        inside = arrange(model, machine)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            gradients_of = inside(lambda: translation_loss(model, BATCH, LossConfig()))[0]
        gradients_of.backward()
        return sum(sizes)

    assert kept(MachineConfig(checkpoint_activations=True)) < 0.5 * kept(MachineConfig())


def test_layers_are_those_of_the_model_and_the_average_is_left_alone() -> None:
    model = small()
    assert len(layers_of(model)) == 4
    beside = copy.deepcopy(model)
    inside = arrange(model, MachineConfig(checkpoint_activations=True))
    assert not is_sharded(inside)
    assert sums_of(inside) is None
    assert for_all_processes(inside, changing=False) is inside
    assert "forward" not in vars(layers_of(beside)[0])
    assert model.state_dict().keys() == beside.state_dict().keys()


@pytest.mark.parametrize(
    ("model", "machine", "monitor", "part"),
    [
        (small(block=BlockConfig(norm="batch")), {"checkpoint_activations": True}, "loss", "a batch norm"),
        (RNNLanguageModel(RNNConfig(), vocab_size=VOCAB), {"compile": True}, "loss", "not for recurrent"),
        (RNNLanguageModel(RNNConfig(), vocab_size=VOCAB), {"parallel": "fsdp"}, "loss", "not for recurrent"),
        (small_gpt(), {"parallel": "fsdp"}, "bleu", "needs a whole model"),
    ],
)
def test_what_cannot_be_is_refused(model: nn.Module, machine: dict[str, Any], monitor: Any, part: str) -> None:
    with pytest.raises(UsageError, match=rf"^train\.{next(iter(machine))} = .*{part}"):
        check_arrangement(model, MachineConfig(**machine), ValidationConfig(monitor=monitor))
    check_arrangement(model, MachineConfig(), ValidationConfig(monitor=monitor))


def test_norms_are_gathered_as_they_are_and_matrices_in_half_precision() -> None:
    (layer, *_) = layers_of(small_gpt())
    wide = _wide(layer)
    assert wide
    assert all(isinstance(module, Norm) for module in wide)
    inside = {id(parameter) for module in wide for parameter in module.parameters()}
    assert all(
        parameter.ndim == 2 or id(parameter) in inside or name.endswith("proj.bias")
        for name, parameter in layer.named_parameters()
    )


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_a_class_are_one_graph_and_sizes_that_differ_add_few(family: str) -> None:
    kinds = 2 if family == "translation" else 1  # encoder and decoder layers
    first, second, *_, before, last = told("graphs", family)
    assert first == second == kinds
    assert before == last <= 3 * kinds


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_a_compiled_step_is_the_plain_one(family: str) -> None:
    plain, compiled, dropped, again = told("steps", family, "cpu", "float32")
    for ours, theirs in zip(compiled, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert again == dropped != compiled


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_layer_is_compiled_for_its_device(on_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    for model in (small_gpt(), small()):
        (layer, *_) = layers_of(model)
        monkeypatch.setattr(layer, "compile", lambda **options: asked.append(options))
        compile_layer(layer, on_gpu=on_gpu)
    assert asked == (
        [{}, {"dynamic": True}] if on_gpu else [{"dynamic": True, "options": {"fallback_random": True}}] * 2
    )


def test_losses_are_compiled_where_layers_are() -> None:
    model = small_gpt()
    assert [arrange(model, MachineConfig(compile=on))(_COMPILED.get) for on in (False, True)] == [False, True]
