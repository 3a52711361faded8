"""One step: k micro-batches are one batch, clipping, and nothing is updated by a number that is none."""

import copy
import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from clearhead.data.translation import Batch, collate
from clearhead.loss import LossConfig, cross_entropy
from clearhead.models.transformer import Transformer
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import NormName
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.tasks.translation.recipe import translation_loss
from clearhead.training.precision import Precision
from clearhead.training.step import LossFunction, scale_, train_step
from tests.small import random_rows, small

SRC, TGT = random_rows([4, 9, 2, 6, 1, 7, 3], seed=1), random_rows([8, 2, 5, 1, 9, 3, 6], seed=2)


def batch(start: int, end: int) -> Batch:
    return collate(SRC[start:end], TGT[start:end])


def loss_of(model: Transformer) -> LossFunction[Batch]:
    def loss(batch: Batch) -> tuple[Tensor, int]:
        logits, real = model(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask), batch.targets.ne(0)
        return cross_entropy(logits[real], batch.targets[real], label_smoothing=0.1)

    return loss


def step_on(model: Transformer, batches: list[Batch], clip: float = 0.0) -> tuple[float, float]:
    optimizers = build_optimizers(model, OptimConfig(name="sgd"), lr=0.1)
    found = train_step(model, batches, loss_of(model), optimizers, grad_clip_norm=clip)
    assert found.taken
    return found.loss, found.grad_norm


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("cuts", [[3, 5], [1, 2, 6], list(range(1, 7))])
def test_unequal_micro_batches_are_one_batch(dtype: torch.dtype, tolerance: float, cuts: list[int]) -> None:
    one = small().to(dtype)
    many = copy.deepcopy(one)
    edges = [0, *cuts, len(SRC)]
    whole = step_on(one, [batch(0, len(SRC))])
    parts = step_on(many, [batch(*edge) for edge in pairwise(edges)])
    assert parts == pytest.approx(whole, rel=10 * tolerance)
    for (name, ours), theirs in zip(many.named_parameters(), one.parameters(), strict=True):
        assert ours.grad is not None, name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=tolerance, msg=name)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance, msg=name)


def test_the_sum_is_divided_by_the_weights_of_all_batches() -> None:
    model, batches = small(), [batch(0, 3), batch(3, 7)]
    optimizers = build_optimizers(model, OptimConfig(name="sgd"), lr=0.0)
    sums = [float(loss_of(model)(one)[0].detach()) for one in batches]
    found = train_step(model, batches, loss_of(model), optimizers, grad_clip_norm=0.0, weight_of=lambda one: 2.5)
    assert found.loss == pytest.approx(sum(sums) / 5)


def test_the_gradients_of_the_step_before_are_forgotten() -> None:
    model = small()
    first, _ = [step_on(model, [batch(0, 3)])[1] for _ in range(2)]
    again = copy.deepcopy(model)
    again.zero_grad()
    assert step_on(model, [batch(3, 7)]) == step_on(again, [batch(3, 7)])
    assert first > 0


def test_clipping_bounds_the_update_and_tells_the_norm_before() -> None:
    free, clipped = small(), small()
    (_, norm), (_, told) = step_on(free, [batch(0, 7)]), step_on(clipped, [batch(0, 7)], clip=norm_share(0.5))
    assert told == pytest.approx(norm)
    assert gradient_norm(free) == pytest.approx(norm, rel=1e-4)
    assert gradient_norm(clipped) == pytest.approx(norm_share(0.5), rel=1e-4)


def norm_share(share: float) -> float:
    return share * step_on(small(), [batch(0, 7)])[1]


def gradient_norm(model: nn.Module) -> float:
    return float(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]).norm())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_loss_that_is_not_finite_updates_nothing(bad: float, norm: NormName) -> None:
    model = small(block=BlockConfig(norm=norm)).train()
    before = copy.deepcopy(model.state_dict())
    optimizers = build_optimizers(model, OptimConfig(), lr=0.1)

    def loss(batch: Batch) -> tuple[Tensor, int]:
        total, count = loss_of(model)(batch)
        return total * bad, count

    found = train_step(model, [batch(0, 2)], loss, optimizers, grad_clip_norm=1.0)
    assert not found.taken
    assert not math.isfinite(found.loss)
    assert [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])] == []
    assert optimizers.state_tensors() == {}


def test_a_gradient_alone_that_is_not_finite_is_enough() -> None:
    model = small()
    optimizers = build_optimizers(model, OptimConfig(), lr=0.1)
    model.decoder.norm.register_full_backward_hook(lambda module, grads, outs: (grads[0] * float("inf"), None))
    found = train_step(model, [batch(0, 2)], loss_of(model), optimizers, grad_clip_norm=1.0)
    assert math.isfinite(found.loss)
    assert not found.taken
    assert optimizers.state_tensors() == {}


@pytest.mark.long
def test_float16_finds_its_scale_and_then_learns_as_float32_does() -> None:
    half, full = small(), small()
    optimizers = [build_optimizers(model, OptimConfig(name="sgd"), lr=0.1) for model in (half, full)]
    precision = Precision("float16")
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    scales, losses = [], []
    for _ in range(40):
        found = train_step(half, [batch(0, 7)], loss_of(half), optimizers[0], grad_clip_norm=1.0, precision=precision)
        scales.append(precision.scaler.get_scale())
        if found.taken:
            losses.append(found.loss)
    assert scales[:3] == [2.0**39, 2.0**38, 2.0**37], "halved at each step that was not taken"
    assert scales[-1] == scales[-2]
    assert 5 < len(losses) < 40
    expected = []
    for _ in losses:
        expected.append(
            train_step(full, [batch(0, 7)], loss_of(full), optimizers[1], grad_clip_norm=1.0).loss,
        )
    assert losses == pytest.approx(expected, rel=5e-3)
    assert losses[-1] < losses[0]
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_by_one_gives_the_same_bits(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients that are scaled down, with and without PyTorch's call for many tensors at once, which is private."""
    tensors = [torch.randn(shape, dtype=dtype) for shape in ((7,), (5, 3), (), (130,))]
    results = [[tensor.clone() for tensor in tensors] for _ in range(2)]
    scale_(results[0], 0.3)
    monkeypatch.delattr(torch, "_foreach_mul_")
    scale_(results[1], 0.3)
    assert all(map(torch.equal, *results))
    assert not torch.equal(results[0][0], tensors[0])


def test_a_step_of_several_batches_reads_its_numbers_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # a GPU is without work from each number that is read back until the next kernels are asked for
    asked: list[str] = []

    def seen(name: str) -> Callable[[Tensor], object]:
        real = getattr(torch.Tensor, name)
        return lambda tensor: (asked.append(name), real(tensor))[1]

    model = small(dropout=0.1).train()
    batches = [dataclasses.replace(batch(*edges), src_mask=None) for edges in pairwise([0, 2, 3, 5])]
    optimizers = build_optimizers(model, OptimConfig(), lr=0.1)
    for name in ("tolist", "item", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, seen(name))
    loss = LossConfig()
    train_step(model, batches, lambda one: translation_loss(model, one, loss), optimizers, grad_clip_norm=1e-3)
    assert asked == ["tolist"]
