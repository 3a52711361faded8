"""The lesson on schedules is red for a cosine that does not fall, and for restarts that come back at another rate."""

import math
from pathlib import Path
from typing import Any

import pytest

from clearhead.inspect import curves
from clearhead.lessons import schedules
from clearhead.optim import schedule
from tests.lessons import failing


def test_a_cosine_that_stays_up_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_cosine", lambda start, end, share: start)
    assert "settle" in failing("schedules", trained=toy_run) <= {"settle", "high", "restarts"}


def test_restarts_at_a_tenth_are_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lr_factor = schedule.lr_factor

    def lower(name: Any, step: int, **settings: Any) -> float:
        return lr_factor(name, step, **settings) * (0.1 if name == "cosine_restarts" else 1.0)

    monkeypatch.setattr(schedules, "lr_factor", lower)
    assert failing("schedules", trained=toy_run) == {"restarts"}


def test_a_step_without_warm_up_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "lr_factor", lambda name, step, **settings: math.exp(-step))
    assert failing("schedules", trained=toy_run) == {"own"}
