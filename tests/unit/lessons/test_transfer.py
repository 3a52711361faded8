"""The lesson on transfer is red for weights that are not carried over, and for a text that does not teach the task."""

import random
from typing import Any

import pytest

from clearhead.lessons import transfer
from clearhead.models.gpt import GPT
from tests.lessons import failing


@pytest.mark.unchecked
def test_weights_that_are_not_carried_over_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GPT, "load_state_dict", lambda self, state: None)
    assert failing("transfer") == {"few", "head", "worth"}


@pytest.mark.unchecked
def test_a_text_whose_times_say_nothing_does_not_teach_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    times = transfer.times

    def at_random(lines: int, seed: int) -> Any:
        draw = random.Random(seed).choice
        every = f"{transfer.PAST},{transfer.OTHER}".split(",")
        return tuple(
            {cut: [f"{cut} {draw(every)}" for _ in its] for cut, its in kind.items()} for kind in times(lines, seed)
        )

    monkeypatch.setattr(transfer, "times", at_random)
    assert {"head", "worth"} <= failing("transfer")


def test_lines_of_the_task_do_not_say_the_time() -> None:
    others, past = transfer.times(2000, 0)
    every = f"{transfer.PAST},{transfer.OTHER}".split(",")
    assert len(past) > 100 < len(others)
    assert not any(cut.endswith(f" {time}") for kind in (others, past) for cut in kind for time in every)
    assert all(line.endswith(tuple(transfer.PAST.split(","))) for its in past.values() for line in its)
