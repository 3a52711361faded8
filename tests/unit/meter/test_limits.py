"""Rates of the machine are measured, and in the order that any machine has."""

import torch

from clearhead.meter import limits


def test_measured_rates() -> None:
    found = limits.measure_limits(torch.device("cpu"))
    assert 1e8 < found.flops < 1e15
    assert 1e7 < found.bytes < 1e14


def test_the_best_of_three_or_more() -> None:
    calls: list[int] = []
    assert limits._best(lambda: calls.append(1)) < 0.1
    assert len(calls) >= 3
