"""Where a run is, from its records: status, speed, time left, scores, samples."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.training.events import SampledLine
from clearhead.verbs.watch.state import MOST_SCORES, RECENT_STEPS, RunState, last_of, seconds_left, state_of

RECIPE = {"name": "toy", "task": "translation", "train": {"max_steps": 100, "evaluate_every": 10}}
BEGUN = {"event": "begun", "step": 0, "last": 100, "targets": "lines"}


def steps(first: int, last: int, seconds: float = 0.5, loss: float = 2.0) -> list[dict[str, Any]]:
    return [
        {"event": "stepped", "step": step, "epoch": 0, "loss": loss, "lr": 1e-3, "tokens": 100, "seconds": seconds}
        for step in range(first, last + 1)
    ]


def evaluated(step: int, loss: float, *, best: bool = False, seconds: float = 3.0) -> dict[str, Any]:
    return {"event": "evaluated", "step": step, "scores": {"loss": loss}, "best": best, "seconds": seconds}


def finished(step: int, reason: str) -> dict[str, Any]:
    return {"event": "finished", "step": step, "reason": reason}


@pytest.mark.parametrize(
    ("records", "holder", "status"),
    [
        ([], "", "new"),
        ([], "process 5", "preparing"),
        ([BEGUN], "process 5", "running"),
        ([BEGUN, *steps(1, 5)], "process 5", "running"),
        ([BEGUN, *steps(1, 5)], "", "gone"),
        ([BEGUN, *steps(1, 5), finished(5, "interrupted")], "", "interrupted"),
        ([BEGUN, *steps(1, 5), finished(5, "interrupted")], "process 6", "preparing"),
        ([BEGUN, *steps(1, 5), finished(5, "early_stop")], "", "finished"),
        ([BEGUN, *steps(1, 5), finished(5, "early_stop")], "process 5", "ending"),
        (steps(1, 100), "", "finished"),  # of a version that did not say so
        ([{"event": "counted", "step": 1, "tokens": 5, "seconds": 0.1}, evaluated(1, 2.0)], "", "finished"),
    ],
)
def test_status(records: list[dict[str, Any]], holder: str, status: str, tmp_path: Path) -> None:
    state = state_of(tmp_path, records, RECIPE, holder=holder)
    assert state.status == status
    assert state.over == (status in ("finished", "interrupted", "gone"))
    assert state.headline().startswith(f"{tmp_path}, toy, translation: ")
    assert state.as_dict()["status"] == status


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    state = state_of(tmp_path / "none", [], {})
    assert (state.status, state.over, state.progress(), state.table(), state.sampled()) == ("absent", False, "", [], [])
    assert state.headline() == f"{tmp_path / 'none'}: there is no such run yet"


def test_numbers_are_of_the_last_steps(tmp_path: Path) -> None:
    records = [BEGUN, *steps(1, 40, seconds=9.0, loss=9.0), *steps(41, 60, seconds=1.0, loss=1.0)]
    state = state_of(tmp_path, records, RECIPE, holder="process 5")
    assert state.progress() == "step 60/100  loss 1.000  lr 1.00e-03  100 lines/s  0:40 left"
    many = [BEGUN, *steps(1, 200, seconds=0.01)]
    assert state_of(tmp_path, many, RECIPE).per_second == pytest.approx(100 / 0.01)
    assert RECENT_STEPS * 0.01 < 10


def test_time_left_counts_steps_and_evaluations_to_come() -> None:
    sampled = {"event": "sampled", "step": 10, "lines": [], "scores": {}, "seconds": 1.0}
    records = [BEGUN, *steps(1, 10), evaluated(10, 2.0), sampled, *steps(11, 25)]
    assert seconds_left(records, 25, 100, 10) == pytest.approx(75 * 0.5 + 8 * 4.0)
    assert seconds_left(records, 25, 105, 10) == pytest.approx(80 * 0.5 + 9 * 4.0)  # the last step is evaluated too
    assert seconds_left(records, 25, 105, 0) == pytest.approx(80 * 0.5 + 4.0)
    assert seconds_left([*records, *steps(26, 100)], 100, 100, 10) == pytest.approx(0.0)
    assert seconds_left([BEGUN], 0, 100, 10) is None
    assert seconds_left(records, 25, 0, 10) is None


def test_time_left_of_a_budget_is_what_it_said_less_what_was_spent_since() -> None:
    sized = {"event": "sized", "step": 10, "last": 77, "seconds_left": 60.0}
    records = [BEGUN, *steps(1, 10), sized, *steps(11, 20, seconds=2.0), evaluated(20, 2.0, seconds=5.0)]
    assert last_of(records, RECIPE) == 77
    assert seconds_left(records, 20, 77, 10) == pytest.approx(60 - 20 - 5)
    assert seconds_left([*records, *steps(21, 77)], 77, 77, 10) == pytest.approx(6.5)
    assert seconds_left([*records, *steps(21, 200)], 200, 77, 10) == 0.0


def test_the_last_step_is_what_was_decided_last() -> None:
    assert last_of([], RECIPE) == 100
    assert last_of([], {"train": {"max_steps": 100, "max_minutes": 5.0}}) == 0
    assert last_of([{**BEGUN, "last": 30}], RECIPE) == 30
    assert last_of([BEGUN, {"event": "sized", "step": 0, "last": 0, "seconds_left": 9.0}], RECIPE) == 0


def test_scores_are_those_of_the_last_evaluations_and_the_best(tmp_path: Path) -> None:
    records = [BEGUN, *(evaluated(step, 20.0 + step, best=step <= 2) for step in range(1, 31))]
    records[-1] = {**records[-1], "scores": {"loss": 50.0, "bleu": 12.5}}
    table = state_of(tmp_path, records, RECIPE).table()
    assert table[0] == "step     loss     bleu"
    assert table[1] == "   2  22.0000        -  best"
    assert table[-1] == "  30  50.0000  12.5000"
    assert len(table) == 2 + MOST_SCORES


def test_samples_are_the_last_ones(tmp_path: Path) -> None:
    def record(step: int, made: str) -> dict[str, Any]:
        return {
            "event": "sampled",
            "step": step,
            "lines": [vars(SampledLine("g", "w", made, 3.0))],
            "scores": {"chrf": 3.0},
            "seconds": 0.1,
        }

    state = state_of(tmp_path, [BEGUN, record(1, "old"), record(2, "new")], RECIPE)
    assert state.samples is not None
    assert state.samples.step == 2
    assert state.sampled() == ["  1  g -> w", "     chrF   3  new"]


def test_its_repr_is_short() -> None:
    assert len(repr(RunState("run", "running"))) < 400
