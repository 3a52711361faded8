"""Optimizers: groups, parity with torch.optim, state by parameter name, the moving average."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.nn.norm import build_norm
from clearhead.optim.build import OptimConfig, build_ema, build_optimizers, parameter_groups
from clearhead.optim.muon import Muon
from tests.small import assert_near, small

NAMES = ["sgd", "adam", "adamw", "muon"]


class Net(nn.Module):
    """A table tied to its output layer, a matrix, a norm and a frozen matrix, registered in ``order``."""

    def __init__(self, order: str = "embed inner norm frozen lm_head") -> None:
        super().__init__()
        modules: dict[str, nn.Module] = {
            "embed": nn.Embedding(7, 4),
            "inner": nn.Linear(4, 4),
            "norm": build_norm("layer", 4),
            "frozen": nn.Linear(4, 4).requires_grad_(False),
            "lm_head": nn.Linear(4, 7, bias=False),
        }
        for name in order.split():
            self.add_module(name, modules[name])
        self.lm_head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.lm_head(self.norm(self.frozen(self.inner(self.embed(ids)))))


def net(order: str = "embed inner norm frozen lm_head") -> Net:
    torch.manual_seed(0)
    return Net(order)


def train(model: nn.Module, step: Callable[[], None], steps: range) -> None:
    for index in steps:
        torch.manual_seed(100 + index)
        model.zero_grad()
        model(torch.randint(7, (3, 5))).square().mean().backward()
        step()


def test_matrices_decay_and_vectors_do_not() -> None:
    groups, names = parameter_groups(net(), 0.1, lr=0.5)
    members = [({names[param] for param in group["params"]}, group["weight_decay"]) for group in groups]
    assert members == [({"embed.weight", "inner.weight"}, 0.1), ({"inner.bias", "norm.weight", "norm.bias"}, 0.0)]


def test_every_parameter_of_a_transformer_is_updated_once() -> None:
    model = small()
    for name in NAMES:
        optimizers = build_optimizers(model, OptimConfig(name=name), 1e-3)
        params = [p for part in optimizers.parts for group in part.param_groups for p in group["params"]]
        assert len(params) == len(set(params))
        assert set(params) == set(model.parameters())


def reference(name: str, model: Net) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [model.embed.weight, model.inner.weight], "weight_decay": 0.1},
        {"params": [model.inner.bias, model.norm.weight, model.norm.bias], "weight_decay": 0.0},
    ]
    match name:
        case "sgd":
            return torch.optim.SGD(groups, lr=0.02, momentum=0.8)
        case "adam":
            return torch.optim.Adam(groups, lr=0.02, betas=(0.9, 0.95), eps=1e-7)
        case _:
            return torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.95), eps=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_parity_with_torch(name: str) -> None:
    ours, theirs = net(), net()
    config = OptimConfig(name=name, betas=(0.9, 0.95), eps=1e-7, momentum=0.8, weight_decay=0.1)
    train(ours, build_optimizers(ours, config, 0.02).step, range(5))
    train(theirs, reference(name, theirs).step, range(5))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_near(mine, other)


def test_muon_takes_the_matrices_inside_and_adamw_the_rest() -> None:
    model = net()
    optimizers = build_optimizers(model, OptimConfig(name="muon", weight_decay=0.3), 0.01)
    adamw, muon = optimizers.parts
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(muon, Muon)
    assert [group["params"] for group in muon.param_groups] == [[model.inner.weight]]
    assert muon.param_groups[0]["momentum"] == 0.95
    rest = {optimizers.names[p]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert rest == {"embed.weight": 0.3, "inner.bias": 0.0, "norm.weight": 0.0, "norm.bias": 0.0}


def test_muon_leaves_the_output_layers_of_heads_to_adamw() -> None:
    model = nn.ModuleDict(
        {
            "mlm_head": nn.ModuleDict({"proj": nn.Linear(4, 4), "out_proj": nn.Linear(4, 7)}),
            "nsp_head": nn.ModuleDict({"out_proj": nn.Linear(4, 2)}),
        }
    )
    optimizers = build_optimizers(model, OptimConfig(name="muon"), 0.01)
    (matrices,) = [group["params"] for group in optimizers.parts[1].param_groups]
    assert [optimizers.names[param] for param in matrices] == ["mlm_head.proj.weight"]


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_has_its_own_rate_by_name(name: str) -> None:
    model = net()
    rates = {"embed.weight": 0.25, "inner.weight": 0.5, "inner.bias": 0.5}
    optimizers = build_optimizers(model, OptimConfig(name=name, weight_decay=0.1), 0.4, lambda key: rates.get(key, 1.0))
    for factor in (0.5, 1.0):
        optimizers.set_lr_factor(factor)
        groups_of = {
            optimizers.names[param]: (group["lr"], group["weight_decay"])
            for part in optimizers.parts
            for group in part.param_groups
            for param in group["params"]
        }
        assert {key: lr for key, (lr, _) in groups_of.items()} == {
            key: pytest.approx(0.4 * factor * rates.get(key, 1.0)) for key in optimizers.names.values()
        }
    assert {key for key, (_, decay) in groups_of.items() if decay} == {"embed.weight", "inner.weight"}
    assert optimizers.set_lr_factor(1.0) == pytest.approx(0.4), "what is shown is the rate of the fastest"


def test_muon_may_have_no_matrices() -> None:
    model = nn.ModuleDict({"out_proj": nn.Linear(4, 2)})
    (only,) = build_optimizers(model, OptimConfig(name="muon"), 0.1).parts
    assert isinstance(only, torch.optim.AdamW)


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_factors_of_the_peak(name: str) -> None:
    optimizers = build_optimizers(net(), OptimConfig(name=name), 0.4)
    for factor in (0.5, 0.25, 1.0):
        assert optimizers.set_lr_factor(factor) == pytest.approx(0.4 * factor)
        assert {group["lr"] for part in optimizers.parts for group in part.param_groups} == {0.4 * factor}


def test_zero_grad_forgets() -> None:
    model = net()
    train(model, lambda: None, range(1))
    build_optimizers(model, OptimConfig(name="muon"), 0.1).zero_grad()
    assert all(param.grad is None for param in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_state_goes_by_name_even_when_parameters_are_reordered(name: str) -> None:
    config = OptimConfig(name=name, weight_decay=0.1)
    straight = net()
    train(straight, build_optimizers(straight, config, 0.05).step, range(6))
    first = net()
    before = build_optimizers(first, config, 0.05)
    train(first, before.step, range(3))
    saved = {key: tensor.clone() for key, tensor in before.state_tensors().items()}
    second = Net("norm inner frozen embed lm_head")
    second.load_state_dict(first.state_dict())
    after = build_optimizers(second, config, 0.05)
    assert list(after.names.values()) != list(before.names.values())
    after.load_state_tensors(saved)
    loaded = after.state_tensors()
    assert set(loaded) == set(saved)
    assert all(torch.equal(loaded[key], saved[key]) for key in saved)
    train(second, after.step, range(3, 6))
    resumed = dict(second.named_parameters())
    assert all(torch.equal(param, resumed[key]) for key, param in straight.named_parameters())
    assert all(torch.equal(before.state_tensors()[key], saved[key]) for key in saved)  # loading copied the tensors


def test_state_names_and_a_foreign_one() -> None:
    model = net()
    optimizers = build_optimizers(model, OptimConfig(name="muon"), 0.05)
    assert optimizers.state_tensors() == {}
    assert optimizers.without_state() == list(optimizers.names.values())
    train(model, optimizers.step, range(1))
    keys = set(optimizers.state_tensors())
    assert {"momentum_buffer/inner.weight", "step/norm.bias", "exp_avg/embed.weight", "exp_avg_sq/inner.bias"} <= keys
    state = optimizers.state_tensors()
    moved = {key.replace("inner.weight", "outer.weight"): value for key, value in state.items()}
    for tensors, problem in [
        (moved, "optimizer state of an unknown parameter 'outer"),
        ({**state, "momentum_buffer/inner.weight": torch.zeros(2)}, "momentum_buffer/inner.weight has shape"),
        ({**state, "exp_avg/inner.weight": torch.zeros(2)}, "'inner.weight' is exp_avg, momentum_buffer"),
    ]:
        with pytest.raises(ModelError, match=problem):
            optimizers.load_state_tensors(tensors)
    del state["momentum_buffer/inner.weight"]
    optimizers.load_state_tensors(state)
    with pytest.raises(ModelError, match=r"optimizer state of parameter 'inner\.weight' is missing"):
        optimizers.load_state_tensors(state, without=[])


def test_moving_average_formula() -> None:
    model = nn.Sequential(nn.Linear(2, 2), build_norm("batch", 2))
    ema, decay = build_ema(model, 0.3), 0.3
    expected = None
    for n in range(8):
        with torch.no_grad():
            for param in model.parameters():
                param.normal_()
        model(torch.randn(1, 4, 2))
        ema.update_parameters(model)
        now = [param.detach().clone() for param in model.parameters()]
        keep = min(decay, (1 + n) / (10 + n))
        expected = now if expected is None else [keep * a + (1 - keep) * b for a, b in zip(expected, now, strict=True)]
        for ours, theirs in zip(ema.module.parameters(), expected, strict=True):
            torch.testing.assert_close(ours.detach(), theirs)
    torch.testing.assert_close(ema.module[1].running_mean, model[1].running_mean)


def test_the_average_keeps_ties_and_leaves_the_model_alone() -> None:
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ema = build_ema(model, 0.9)
    ema.update_parameters(model)
    ema.update_parameters(model)
    assert ema.module.lm_head.weight is ema.module.embed.weight
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_all_of_the_state_goes_to_the_device_of_its_parameter() -> None:
    # the fused kernel of a GPU reads the count of steps there; left on the CPU, a resumed run ended in its first step
    model = nn.Linear(3, 2)
    model(torch.randn(4, 3)).sum().backward()
    optimizers = build_optimizers(model, OptimConfig(), 1e-3)
    optimizers.step()
    elsewhere = build_optimizers(nn.Linear(3, 2, device="meta"), OptimConfig(), 1e-3)
    elsewhere.load_state_tensors(optimizers.state_tensors())
    devices = {slot: value.device.type for slots in elsewhere.parts[0].state.values() for slot, value in slots.items()}
    assert devices == dict.fromkeys(("exp_avg", "exp_avg_sq", "step"), "meta")
