"""Schedules: values at key points, closed forms, no unintended jumps."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.optim.schedule import ScheduleName, lr_factor

NAMES = get_args(ScheduleName)
RUN = {"warmup_steps": 100, "max_steps": 1100}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", {1: 0.01, 50: 0.5, 100: 1, 101: 1, 1100: 1, 9999: 1}),
        ("linear", {50: 0.5, 100: 1, 600: 0.55, 1100: 0.1, 2000: 0.1}),
        ("inverse_sqrt", {50: 0.5, 100: 1, 400: 0.5, 900: 1 / 3, 10000: 0.1}),
        ("cosine", {50: 0.5, 100: 1, 350: 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, 600: 0.55, 1100: 0.1, 2000: 0.1}),
        ("wsd", {50: 0.5, 100: 1, 880: 1, 990: 0.55, 1100: 0.1, 2000: 0.1}),
        ("one_cycle", {50: (1 / 25 + 1) / 2, 100: 1, 600: (1 + 1e-4) / 2, 1100: 1e-4, 2000: 1e-4}),
        ("cosine_restarts", {50: 0.5, 100: 1, 150: 0.55, 200: 1, 300: 0.55, 400: 1, 600: 0.55}),
    ],
)
def test_key_points(name: ScheduleName, expected: dict[int, float]) -> None:
    factors = {step: lr_factor(name, step, **RUN, min_factor=0.1, cycle_steps=100) for step in expected}
    assert factors == pytest.approx(expected)


def test_inverse_sqrt_is_noam_with_its_peak_at_one() -> None:
    for step in (1, 37, 100, 101, 5000):
        noam = min(step**-0.5, step * 100**-1.5) / 100**-0.5
        assert lr_factor("inverse_sqrt", step, **RUN) == pytest.approx(noam)


def test_cosine_restarts_are_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2, eta_min=0.2)
    for step in range(65):
        ours = lr_factor("cosine_restarts", step, warmup_steps=0, max_steps=200, min_factor=0.2, cycle_steps=10)
        assert ours == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_one_cycle_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=31 / 101, final_div_factor=400
    )
    for step in range(101):  # torch ends at initial / final_div_factor = 1 / 25 / 400
        ours = lr_factor("one_cycle", step, warmup_steps=30, max_steps=100)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        if step < 100:
            theirs.step()


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    warmup=st.integers(0, 50),
    length=st.integers(1, 300),
    minimum=st.floats(0, 1),
    step=st.integers(1, 500),
)
def test_every_factor_is_a_share_of_the_peak(
    name: ScheduleName, warmup: int, length: int, minimum: float, step: int
) -> None:
    run = {"warmup_steps": warmup, "max_steps": warmup + length, "min_factor": minimum}
    value = lr_factor(name, step, **run)
    assert 0 <= value <= 1 + 1e-12
    if step < warmup and name != "one_cycle":
        assert value == pytest.approx(step / warmup)
    if step >= warmup + length and name in ("linear", "cosine", "wsd"):
        assert value == pytest.approx(minimum)


@pytest.mark.parametrize("max_steps", [700, 706])
def test_three_default_cycles_end_with_the_run(max_steps: int) -> None:
    run = {"warmup_steps": 0, "max_steps": max_steps}
    last = [lr_factor("cosine_restarts", step, **run) for step in range(max_steps - 7, max_steps + 1)]
    assert max(last) < 0.01
