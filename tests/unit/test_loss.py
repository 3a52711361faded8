"""Losses: value and gradients against autograd through the plain computation, whatever the chunks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from clearhead.loss import (
    LossConfig,
    _compiled_chunks,
    _kind_of_products,
    _LinearCrossEntropy,
    _Plan,
    _rounded_chunks,
    between_passes,
    compiled_losses,
    cross_entropy,
    divergence,
    linear_cross_entropy,
    passes_of,
    places_of,
    squared_error,
    weighted_cross_entropy,
)
from tests.small import assert_near


def reference(logits: Tensor, targets: Tensor, smoothing: float, z_loss: float) -> Tensor:
    """Computes the definition: cross-entropy to the smoothed target distribution, plus z_loss log(Z)^2."""
    wanted = torch.full_like(logits, smoothing / logits.shape[1])
    wanted[torch.arange(len(targets)), targets] += 1 - smoothing
    log_z = logits.exp().sum(1).log()
    return (wanted * (log_z[:, None] - logits)).sum() + z_loss * log_z.square().sum()


def gradients(loss: Callable[..., Tensor], *tensors: Tensor) -> list[Tensor]:
    """Returns the value and the gradient with respect to each tensor."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    value = loss(*leaves)
    (value / 7).backward()  # as in a training step, which divides the sum
    return [value.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_plain_loss(smoothing: float, z_loss: float) -> None:
    logits, targets = torch.randn(9, 11, dtype=torch.float64, requires_grad=True), torch.randint(11, (9,))
    total, count = cross_entropy(logits, targets, label_smoothing=smoothing, z_loss=z_loss)
    expected = reference(logits, targets, smoothing, z_loss)
    assert count == 9
    torch.testing.assert_close(total, expected)
    (grad,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0])
    if not z_loss:
        torch.testing.assert_close(
            total, functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
        )


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 12),
    vocab=st.integers(2, 9),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    z_loss=st.sampled_from([0.0, 1e-3, 0.1]),
    chunk=st.sampled_from([1, 2, 5, 12, 1000]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_fused_loss_and_gradients(
    rows: int, vocab: int, smoothing: float, z_loss: float, chunk: int, scale: float
) -> None:
    x, weight = torch.randn(rows, 4, dtype=torch.float64) * scale, torch.randn(vocab, 4, dtype=torch.float64)
    targets, config = torch.randint(vocab, (rows,)), LossConfig(smoothing, z_loss, chunk)
    fused = gradients(lambda x, w: linear_cross_entropy(x, w, targets, config)[0], x, weight)
    plain = gradients(lambda x, w: reference(x @ w.T, targets, smoothing, z_loss), x, weight)
    for ours, theirs in zip(fused, plain, strict=True):
        assert_near(ours, theirs, 1e-9)
    bias = torch.randn(vocab, dtype=torch.float64)
    fused = gradients(lambda x, w, b: linear_cross_entropy(x, w, targets, config, bias=b)[0], x, weight, bias)
    plain = gradients(lambda x, w, b: reference(x @ w.T + b, targets, smoothing, z_loss), x, weight, bias)
    for ours, theirs in zip(fused, plain, strict=True):
        assert_near(ours, theirs, 1e-9)
    assert linear_cross_entropy(x, weight, targets, config)[1] == rows


def test_gradcheck() -> None:
    x, weight = torch.randn(5, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    config, targets = LossConfig(0.1, 0.01, 2), torch.tensor([0, 5, 2, 2, 1])
    loss = lambda x, w: linear_cross_entropy(x, w, targets, config)[0]  # noqa: E731
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), weight.requires_grad_()))


def test_float32_against_torch() -> None:
    torch.manual_seed(0)
    x, weight, targets = torch.randn(300, 64), torch.randn(500, 64) / 8, torch.randint(500, (300,))
    config = LossConfig(label_smoothing=0.1, chunk_size=128)

    def torchs(x: Tensor, w: Tensor) -> Tensor:
        return functional.cross_entropy(x @ w.T, targets, reduction="sum", label_smoothing=0.1)

    fused = gradients(lambda x, w: linear_cross_entropy(x, w, targets, config)[0], x, weight)
    for ours, theirs in zip(fused, gradients(torchs, x, weight), strict=True):
        assert_near(ours, theirs, 1e-5)


def test_a_bias_for_each_piece_in_float32() -> None:
    x, weight, bias, targets = (
        torch.randn(300, 64),
        torch.randn(500, 64) / 8,
        torch.randn(500),
        torch.randint(500, (300,)),
    )
    config = LossConfig(label_smoothing=0.1, chunk_size=128)

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return linear_cross_entropy(x, w, targets, config, bias=b)[0]

    def torchs(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return functional.cross_entropy(functional.linear(x, w, b), targets, reduction="sum", label_smoothing=0.1)

    for mine, other in zip(gradients(ours, x, weight, bias), gradients(torchs, x, weight, bias), strict=True):
        assert_near(mine, other, 1e-5)
    frozen = bias.requires_grad_(False)
    linear_cross_entropy(x.requires_grad_(), weight, targets, config, bias=frozen)[0].backward()
    assert frozen.grad is None


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_large_logits_stay_exact(size: float) -> None:
    x, weight = torch.tensor([[size], [-size]], requires_grad=True), torch.tensor([[1.0], [-1.0], [0.5]])
    total, _ = linear_cross_entropy(x, weight, torch.tensor([1, 1]), LossConfig(label_smoothing=0.0))
    total.backward()
    torch.testing.assert_close(total.detach(), torch.tensor(2 * size))
    assert x.grad.isfinite().all()


def test_what_needs_no_gradient_gets_none() -> None:
    targets, config = torch.tensor([0, 1]), LossConfig(chunk_size=1)
    x, weight = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    linear_cross_entropy(x, weight, targets, config)[0].backward()
    assert weight.grad is None
    gradient, x = x.grad, x.detach()
    linear_cross_entropy(x, weight.requires_grad_(), targets, config)[0].backward()
    assert gradient is not None
    assert x.grad is None
    assert weight.grad is not None
    with torch.no_grad():
        assert not linear_cross_entropy(x, weight, targets, config)[0].requires_grad


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_all_logits_never_exist_together() -> None:
    x, weight = torch.randn(64, 2, requires_grad=True), torch.randn(100, 2, requires_grad=True)
    with Largest() as largest:
        linear_cross_entropy(x, weight, torch.randint(100, (64,)), LossConfig(chunk_size=8))[0].backward()
    assert largest.numel == 8 * 100


def test_weights_of_classes_over_unequal_batches() -> None:
    logits, targets = (
        torch.randn(9, 3, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 0, 0, 0, 1, 2, 0, 0, 1]),
    )
    weights = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64)
    parts = [weighted_cross_entropy(logits[at], targets[at], weights) for at in (slice(0, 4), slice(4, 6), slice(6, 9))]
    mean = sum(total for total, _ in parts) / sum(weight for _, weight in parts)
    torch.testing.assert_close(mean, functional.cross_entropy(logits, targets, weight=weights))
    of_means = sum(total / weight for total, weight in parts) / len(parts)
    assert not torch.allclose(mean, of_means, atol=1e-2), "the batches do not differ enough for this test"
    even = torch.ones(3, dtype=torch.float64)
    total, count = weighted_cross_entropy(logits, targets, even, label_smoothing=0.2)
    assert count == 9
    torch.testing.assert_close(total, cross_entropy(logits, targets, label_smoothing=0.2)[0])


def test_a_smoothed_row_has_the_weight_of_its_target() -> None:
    logits, weights = torch.randn(4, 3), torch.tensor([1.0, 2.0, 3.0])
    targets = torch.tensor([0, 1, 2, 1])
    rows = [cross_entropy(logits[[i]], targets[[i]], label_smoothing=0.1)[0] for i in range(4)]
    total, weight = weighted_cross_entropy(logits, targets, weights, label_smoothing=0.1)
    torch.testing.assert_close(total, rows[0] + 2 * rows[1] + 3 * rows[2] + 2 * rows[3])
    assert weight == 8


def test_squared_error() -> None:
    values, targets = torch.tensor([[1.0], [2.0], [-1.0]], requires_grad=True), torch.tensor([[0.0], [2.0], [2.0]])
    total, count = squared_error(values, targets)
    assert (float(total.detach()), count) == (10.0, 3)
    total.backward()
    assert values.grad.tolist() == [[2.0], [0.0], [-6.0]]


def test_no_rows_cost_nothing() -> None:
    x, weight, none = torch.randn(0, 3, requires_grad=True), torch.randn(4, 3), torch.zeros(0, dtype=torch.long)
    total, count = linear_cross_entropy(x, weight, none, LossConfig(), bias=torch.ones(4))
    assert (float(total.detach()), count) == (0.0, 0)
    total.backward()


def reference_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Computes the definition: KL(p || q) + KL(q || p)."""
    log_p, log_q = functional.log_softmax(first, 1), functional.log_softmax(second, 1)
    kl = functional.kl_div
    return kl(log_q, log_p, log_target=True, reduction="sum") + kl(log_p, log_q, log_target=True, reduction="sum")


def test_divergence_and_its_gradients() -> None:
    first, second = (torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = reference_divergence(first, second)
    wanted = torch.autograd.grad(expected, [first, second])
    for ours, theirs in zip(divergence(first, second), [expected, *wanted], strict=True):
        torch.testing.assert_close(ours, theirs)
    logits = torch.cat([first, second])
    total = between_passes(logits, 3.0)
    torch.testing.assert_close(total, 0.75 * expected)
    for ours, theirs in zip(torch.autograd.grad(total, [first, second]), wanted, strict=True):
        torch.testing.assert_close(ours, 0.75 * theirs)


@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_two_passes_are_the_mean_of_both_and_their_divergence(chunk: int, smoothing: float) -> None:
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64) for shape in ((14, 4), (9, 4), (9,)))
    targets = torch.randint(9, (7,)).repeat(2)
    config = LossConfig(smoothing, 1e-2, chunk, consistency=5.0)

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        logits = x @ w.T + b
        return reference(logits, targets, smoothing, 1e-2) / 2 + 1.25 * reference_divergence(*logits.chunk(2))

    def fused(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        total, count = linear_cross_entropy(x, w, targets, config, bias=b, passes=2)
        assert count == 7
        return total

    for ours, theirs in zip(gradients(fused, x, weight, bias), gradients(plain, x, weight, bias), strict=True):
        assert_near(ours, theirs, 1e-9)


def test_a_batch_passes_twice_in_training_alone() -> None:
    model = torch.nn.Linear(2, 2)
    assert passes_of(model, 1.0) == 2
    assert passes_of(model, 0.0) == 1
    assert passes_of(model.eval(), 1.0) == 1


@pytest.mark.parametrize(("smoothing", "z_loss", "biased"), [(0.0, 0.0, False), (0.1, 0.01, True)])
def test_in_bfloat16_loss_and_gradients_are_near_float32_whatever_the_chunks(
    smoothing: float, z_loss: float, biased: bool
) -> None:
    torch.manual_seed(0)
    x, weight, targets = torch.randn(40, 32), 0.2 * torch.randn(50, 32), torch.randint(50, (40,))
    bias = torch.randn(50) if biased else None

    def loss_and_gradients(chunk_size: int, *, half: bool) -> list[Tensor]:
        leaves = [leaf.clone().requires_grad_() for leaf in (x, weight, bias) if leaf is not None]
        config = LossConfig(label_smoothing=smoothing, z_loss=z_loss, chunk_size=chunk_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total, _ = linear_cross_entropy(leaves[0], leaves[1], targets, config, bias=leaves[2] if biased else None)
        total.backward()
        found = [total.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]
        assert {value.dtype for value in found} == {torch.float32}
        return found

    exact, whole, parts = (
        loss_and_gradients(40, half=False), loss_and_gradients(40, half=True), loss_and_gradients(7, half=True)
    )  # fmt: skip
    for single, other, parted in zip(exact, whole, parts, strict=True):
        assert 0 < float((other - single).norm() / single.norm()) < 0.01
        assert float((parted - other).norm() / other.norm()) < 0.005


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_products_of_half_precision_give_the_gradients_of_float32(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(50, 32), torch.randn(40, 32) / 6, torch.randn(40) / 6
    targets, config = torch.randint(40, (50,)), LossConfig(chunk_size=16, z_loss=1e-3)

    def loss(kind: torch.dtype | None) -> Callable[..., Tensor]:
        return lambda *leaves: _LinearCrossEntropy.apply(*leaves, targets, _Plan(config, 1, kind, True))

    exact, near = gradients(loss(None), x, weight, bias), gradients(loss(kind), x, weight, bias)
    for ours, theirs in zip(near, exact, strict=True):
        assert ours.dtype == torch.float32
        assert 0 < float((ours - theirs).norm() / theirs.norm()) < 5e-3


def test_a_gpu_multiplies_in_the_type_of_autocast_and_a_cpu_in_bfloat16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _kind_of_products("cpu") is None
    for kind, expected in ((torch.bfloat16, torch.bfloat16), (torch.float16, None)):
        with torch.autocast("cpu", kind):
            assert _kind_of_products("cpu") == expected
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
        monkeypatch.setattr(torch, "get_autocast_dtype", lambda device, kind=kind: kind)
        assert _kind_of_products("cuda") == kind
        monkeypatch.undo()


@pytest.mark.unchecked
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_compiled_chunks_are_the_plain_ones(kind: torch.dtype, passes: int) -> None:
    logits, labels = [torch.randn(6, 11).to(kind) for _ in range(passes)], torch.randint(11, (6, 1))
    config = LossConfig(z_loss=1e-2, consistency=passes - 1.0)
    total, plain = _rounded_chunks(logits, labels, config)
    ours, compiled = _compiled_chunks()(logits, labels, config)
    assert {grad.dtype for grad in [*plain, *compiled]} == {kind}
    assert ours.dtype == torch.float32
    assert_near(ours, total)
    for found, expected in zip(compiled, plain, strict=True):
        torch.testing.assert_close(found, expected)


def test_nothing_is_compiled_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearhead.loss._compiled_chunks", lambda: pytest.fail("compiled"))
    with compiled_losses():
        linear_cross_entropy(torch.randn(3, 4), torch.randn(5, 4), torch.tensor([1, 2, 3]), LossConfig())


def test_places_are_the_numbers_of_the_rows_that_count() -> None:
    mask = torch.tensor([False, True, True, False, True])
    assert places_of(mask, 3).tolist() == [1, 2, 4] == torch.nonzero_static(mask, size=3)[:, 0].tolist()
