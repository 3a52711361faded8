"""Muon: the orthogonalized matrix against the SVD, the update against its formula and torch's own."""

import pytest
import torch

from clearhead.optim.muon import Muon, orthogonalize, product_dtype


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6), (1, 5), (5, 1)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_orthogonalize_against_the_svd(shape: tuple[int, int], scale: float) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    values = torch.linspace(0.1, 1, min(shape), dtype=torch.float64)
    out = orthogonalize(left @ values.diag() @ right * scale)
    inside = left.T @ out @ right.T  # the same singular vectors: only the values move
    assert (inside - inside.diag().diag()).abs().max() < 1e-9
    assert (inside.diag() > 0.65).all()
    assert (inside.diag() < 1.25).all()
    torch.testing.assert_close(left @ inside @ right, out)


def test_products_in_lower_precision_are_near() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(40, 64)
    out = orthogonalize(matrix)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, orthogonalize(matrix.double()).float(), atol=0.03, rtol=0)


def test_bfloat16_is_for_hardware_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, dtype in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=capabilities: has)
        assert product_dtype.__wrapped__("cpu") == dtype
    assert product_dtype("mps") == torch.float32


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalize(torch.zeros(3, 4)).any()


def test_update_formula() -> None:
    torch.manual_seed(0)
    param = torch.nn.Parameter(torch.randn(3, 5))
    value, buffer = param.detach().clone(), torch.zeros(3, 5)
    muon = Muon([param], lr=0.1, momentum=0.9, weight_decay=0.5)
    for _ in range(3):
        param.grad = torch.randn(3, 5)
        buffer = 0.9 * buffer + 0.1 * param.grad
        step = orthogonalize(0.1 * param.grad + 0.9 * buffer)
        value = value * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 5**0.5 * step
        muon.step()
        torch.testing.assert_close(param.detach(), value)


def test_near_torchs_bfloat16_one() -> None:
    torch.manual_seed(0)
    start = torch.randn(16, 24)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    mine = Muon([ours], lr=0.02, momentum=0.95, weight_decay=0.1)
    reference = torch.optim.Muon(
        [theirs], lr=0.02, momentum=0.95, weight_decay=0.1, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(3):
        ours.grad = torch.randn(16, 24)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    moved = (theirs - start).detach().norm()
    assert (ours - theirs).detach().norm() < 0.05 * moved


def test_what_has_no_gradient_stays() -> None:
    first, second = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    first.grad = torch.eye(2)
    Muon([first, second], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(second, torch.ones(2, 2))
    assert not torch.equal(first, torch.ones(2, 2))
