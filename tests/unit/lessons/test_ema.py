"""The lesson on averages is red for one that keeps nothing, one that starts slowly, and one with another decay."""

import pytest

from clearhead.lessons import ema
from clearhead.optim import build
from clearhead.optim.lerp import lerp_
from tests.lessons import failing


def test_an_average_that_forgets_all_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "lerp_", lambda tensors, others, weight: lerp_(tensors, others, 1.0))
    assert failing("ema") == {"sum", "half_life", "early", "noise", "lag"}


def test_a_slow_start_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "lerp_", lambda tensors, others, weight: lerp_(tensors, others, 0.02))
    assert failing("ema") == {"early"}


def test_another_decay_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    build_ema = build.build_ema
    monkeypatch.setattr(ema, "build_ema", lambda model, decay: build_ema(model, decay**2))
    assert failing("ema") == {"sum", "half_life"}
