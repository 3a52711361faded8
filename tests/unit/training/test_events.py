"""Events are records that cannot be changed on their way through the writers."""

import dataclasses
from pathlib import Path
from typing import get_args

import pytest

from clearhead.training.events import (
    Begun,
    Counted,
    Diverging,
    Evaluated,
    Event,
    Finished,
    Noted,
    NotSaved,
    Sampled,
    Saved,
    Sized,
    Skipped,
    Stepped,
)


def test_every_event_tells_its_step_and_cannot_be_changed() -> None:
    events = [
        Begun(4, 90, "tokens"),
        Sized(4, 90, 9, 60.0, 0.5, 2.0),
        Stepped(4, 0, 1.0, 0.1, 2.0, 10, 0.5),
        Skipped(4, 0, 1.0, 2.0, 1, "lines 3, 4", 0.5),
        Diverging(4, 9.0, 2.0, 3, 0.1),
        Counted(4, 10, 0.5),
        Evaluated(4, {"loss": 1.0}, best=False, seconds=1.0),
        Sampled(4, [], {"chrf": 40.0}, 0.5),
        Saved(4, Path("checkpoint")),
        NotSaved(4, "the disk is full"),
        Noted(4, "other threads"),
        Finished(4, "early_stop"),
    ]
    assert {type(event) for event in events} == set(get_args(Event))
    for event in events:
        assert event.step == 4
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.step = 5  # type: ignore[misc]
