"""Calls on the lane run one after another in one thread, and not at all for who has gone."""

import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from clearhead.serve.metrics import Metrics
from clearhead.serve.work.jobs import GivenUpError, Job
from clearhead.serve.work.lane import CURRENT, Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane(Metrics())
    yield made
    made.close()


def test_all_calls_are_in_one_thread_and_never_at_once(lane: Lane) -> None:
    inside, most, threads = 0, 0, set[int]()

    def call() -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threads.add(threading.get_ident())
        inside -= 1
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: lane.run(call), range(50))) == 50
    assert (most, len(threads)) == (1, 1)


def test_a_call_within_a_call_runs_at_once(lane: Lane) -> None:
    assert lane.run(lambda: lane.run(lambda: 7)) == 7


def test_errors_reach_who_asked(lane: Lane) -> None:
    with pytest.raises(ZeroDivisionError):
        lane.run(lambda: 1 // 0)


def test_a_job_starts_there_and_one_given_up_is_not_computed(lane: Lane) -> None:
    job, gone = Job(9.0), Job(9.0)
    gone.give_up("disconnect")

    def run(each: Job) -> int:
        CURRENT.set(each)
        return lane.run(lambda: 1)

    assert contextvars.copy_context().run(run, job) == 1
    assert job.started is not None
    with pytest.raises(GivenUpError):
        contextvars.copy_context().run(run, gone)
    assert gone.started is None
