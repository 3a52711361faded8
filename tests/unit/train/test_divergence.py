"""A loss that goes up and stays up is said once; noise, spikes and slow learning are not."""

import random

from clearhead.train.divergence import WINDOW, Divergence
from clearhead.train.events import Diverging, Skipped, Stepped


def seen(losses: list[float]) -> list[Diverging]:
    watched = Divergence()
    events = [Stepped(step, 0, loss, 0.5, 1.0, 10, 0.1) for step, loss in enumerate(losses, 1)]
    return [found for event in events for found in watched.see(event)]


def test_said_once_and_says_where_it_was_best() -> None:
    falling = [8 - 0.05 * step for step in range(100)]
    (found,) = seen(falling + [9.0] * 100)
    assert 100 < found.step < 100 + 2 * WINDOW
    assert found.lowest_step == 100
    assert found.lowest < 4
    assert found.loss > 7.5
    assert found.lr == 0.5


def test_worse_than_the_first_steps_by_far() -> None:
    assert len(seen([8.0] * WINDOW + [30.0] * WINDOW)) == 1


def test_noise_spikes_and_a_loss_that_stays_are_not_divergence() -> None:
    draw = random.Random(0)
    assert seen([8 + draw.gauss(0, 1) for _ in range(2000)]) == []
    assert seen([8 - 0.01 * step for step in range(300)] + [20.0] * 3 + [5.0] * 100) == []
    assert seen([0.5] * 50 + [1.2] * 100) == [], "small losses may double"
    assert seen([8.0] * 30 + [3.0] * 100 + [5.5] * 100) == [], "still better than at the start"


def test_skipped_steps_are_none() -> None:
    watched = Divergence()
    assert list(watched.see(Skipped(1, 0, float("nan"), 1.0, 1, "", 0.1))) == []
