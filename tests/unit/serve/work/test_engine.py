"""Sources are dealt out among workers by their rows; texts of a language model stay together."""

import threading
from typing import Any

import pytest

from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.search import NativeSearch
from clearhead.engine.rows import NativeModel
from clearhead.serve.metrics import Metrics
from clearhead.serve.work.engine import WORKERS, Engine
from clearhead.serve.work.jobs import GivenUpError, Job
from clearhead.serve.work.steppers import SourceWork, TextWork
from clearhead.serve.work.worker import Worker

MODEL = object.__new__(NativeModel)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Which worker was given how many texts, the one for small requests last; none of it is computed."""
    found: list[tuple[int, int]] = []

    def submit(worker: Worker, model: NativeModel, works: list[Any]) -> None:
        worker.rows_asked += sum(work.rows for work in works)
        found.append(([*worker.workers, worker].index(worker), len(works)))

    monkeypatch.setattr(Worker, "submit", submit)
    return found


def source(beam: int, pieces: int = 3) -> SourceWork:
    return SourceWork(Job(9.0), print, [5] * pieces, NativeSearch(1, 2, beam), [], 9, None, 0)


def test_the_worker_with_the_fewest_rows_takes_the_next_source(taken: list[Any]) -> None:
    engine = Engine(rows=8, threads=2, metrics=Metrics())
    for beam in (4, 1, 2, 1, 1):
        engine.submit(MODEL, [source(beam)])
    assert [worker for worker, _ in taken] == [1, 0, 0, 0, 1]
    taken.clear()
    engine.submit(MODEL, [source(2, pieces) for pieces in (3, 4, 5, 6)])
    assert taken == [(0, 2), (1, 2)]
    engine.close()


def test_small_requests_have_a_worker_of_their_own_while_it_has_the_fewest_rows(taken: list[Any]) -> None:
    engine, small = Engine(rows=8, threads=2, metrics=Metrics()), 2
    for pieces in (20, 20, 11, 8, 8, 8, 8):
        engine.submit(MODEL, [source(5, pieces)])
    assert [worker for worker, _ in taken] == [1, 0, 1, small, small, 0, small]
    other = object.__new__(NativeModel)
    engine.submit(other, [source(1, 4)])
    assert taken[-1] == (1, 1), "what is usual is a model's own"
    engine.close()


def test_texts_of_a_language_model_are_stepped_by_one(taken: list[Any]) -> None:
    engine = Engine(rows=8, threads=2, metrics=Metrics())
    settings = SamplerSettings(SamplingConfig(), 2)
    for _ in range(3):
        engine.submit(MODEL, [TextWork(Job(9.0), print, [1], settings, 9, 0, bool, print)] * 2)
    assert [worker for worker, _ in taken] == [0] * 3
    engine.close()


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 2), (64, WORKERS)])
def test_there_are_few_workers_and_none_after_the_end(threads: int, workers: int) -> None:
    before = threading.active_count()
    engine = Engine(rows=8, threads=threads, metrics=Metrics())
    assert threading.active_count() == before + workers + 1, "and that for small requests"
    assert engine.running_rows == 0
    engine.close()
    assert threading.active_count() == before
    with pytest.raises(GivenUpError):
        engine.submit(MODEL, [])
