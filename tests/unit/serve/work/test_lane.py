"""Calls on the lane run one after another in one thread, and not at all for who has gone."""

import contextvars
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.decode import search
from clearhead.serve.metrics import Metrics
from clearhead.serve.work.jobs import GivenUpError, Job
from clearhead.serve.work.lane import CURRENT, Lane
from clearhead.tasks.translation.translator import Translator
from tests.limits import HANGS


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


def test_a_search_that_nobody_wants_takes_no_further_step(
    lane: Lane, toy_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator, job = Translator.load(toy_run, device="cpu", engine="torch"), Job(float(HANGS))
    steps, step = itertools.count(1), search._extend

    def counted(*all_of_it: Any, **named: Any) -> Any:
        if next(steps) == 3:
            job.give_up("disconnect")
        return step(*all_of_it, **named)

    monkeypatch.setattr(search, "_extend", counted)
    with pytest.raises(GivenUpError):
        lane.submit(job, lambda: translator.translate("我妹妹不骑自行车。", require=["tea"])).result()
    assert next(steps) == 4
    translator.translate("她们在学校。", require=["tea"])  # another thread's goes on
    assert lane.run(lambda: translator.translate("她们在学校。", require=["tea"])).complete


def test_a_model_that_nobody_wants_computes_no_further_module(lane: Lane) -> None:
    job, calls, module = Job(float(HANGS)), itertools.count(1), torch.nn.Linear(1, 1)

    def compute() -> None:
        while True:
            if next(calls) == 3:
                job.give_up("time")
            module(torch.zeros(1))

    with pytest.raises(GivenUpError):
        lane.submit(job, compute).result()
    assert next(calls) == 4
    assert lane.run(lambda: module(torch.zeros(1)).shape) == (1,)


def test_only_where_pytorch_computes_is_it_asked_to_go_on(lane: Lane) -> None:
    without, hooks = Lane(Metrics(), torch=False), torch.nn.modules.module._global_forward_pre_hooks
    before = len(hooks)
    assert lane.run(lambda: len(hooks)) == before + 1
    assert without.run(lambda: len(hooks)) == before
    with pytest.raises(ZeroDivisionError):
        lane.run(lambda: 1 // 0)
    assert len(hooks) == before, "what else computes in the process is not asked"
    without.close()
