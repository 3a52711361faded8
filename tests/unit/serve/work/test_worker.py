"""The engine's thread: who joins when, who leaves, and that an error is one text's own."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError
from clearhead.serve.metrics import Metrics
from clearhead.serve.work import worker as module
from clearhead.serve.work.delivery import Post
from clearhead.serve.work.engine import Engine
from clearhead.serve.work.jobs import GivenUpError, Job
from clearhead.serve.work.steppers import Stepper, Work
from clearhead.serve.work.worker import Worker


@dataclass(eq=False)
class Counted(Work):
    """A text that is over after so many steps."""

    steps: int = 1
    wide: int = 1
    name: str = ""
    size: int = 1

    @property
    def rows(self) -> int:
        return self.wide


class Counting(Stepper):
    """Steps counted texts as slowly as it is let."""

    def __init__(self) -> None:  # it has no batch of the engine
        self.works: list[Counted] = []
        self.seen: list[list[str]] = []
        self.gate, self.fault = threading.Semaphore(0), ""

    def __len__(self) -> int:
        return sum(work.wide for work in self.works)

    def join(self, works: Sequence[Counted]) -> None:
        if any(work.name == "bad" for work in works):
            raise ModelError("a bad text")
        self.works += works

    def leave(self, work: Counted) -> None:
        if work in self.works:
            self.works.remove(work)

    def _joining(self, works: Sequence[Counted]) -> Iterator[tuple[int, Work]]:
        raise NotImplementedError

    def step(self, threads: int) -> list[tuple[Counted, Any]]:
        self.gate.acquire()
        if self.fault:
            raise RuntimeError(self.fault)
        self.seen.append([work.name for work in self.works])
        for work in self.works:
            work.steps -= 1
        over = [work for work in self.works if not work.steps]
        self.works = [work for work in self.works if work.steps]
        return [(work, work.name) for work in over]


class Timed(Counting):
    """Its steps take as long as the name of their first text says, on a clock that only they move."""

    def __init__(self, clock: list[float], seconds: dict[str, float]) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def step(self, threads: int) -> list[tuple[Counted, Any]]:
        self.clock[0] += self.seconds[self.works[0].name]
        return super().step(threads)


@pytest.fixture
def stepper(monkeypatch: pytest.MonkeyPatch) -> Counting:
    made = Counting()
    monkeypatch.setattr(module, "stepper_for", lambda *_: made)
    return made


@pytest.fixture
def engine(stepper: Counting) -> Iterator[Engine]:
    made = Engine(rows=4, threads=1, metrics=Metrics())
    yield made
    for _ in range(1000):
        stepper.gate.release()
    made.close()


class Ends:
    """What came of texts, by name."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.calls: dict[str, int] = defaultdict(int)

    def __call__(self, work: Any, result: Any) -> None:
        self.results[work.name] = result
        self.calls[work.name] += 1

    def wait(self, *names: str) -> list[Any]:
        until(lambda: set(names) <= set(self.results))
        return [self.results[name] for name in names]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


MODEL = object.__new__(NativeModel)


def works(job: Job, ends: Ends, names: str, **facts: Any) -> list[Work]:
    return [Counted(job, ends, name=name, **facts) for name in names.split()]


def test_a_text_joins_while_others_run(engine: Engine, stepper: Counting) -> None:
    ends = Ends()
    engine.submit(MODEL, works(Job(9.0), ends, "long", steps=3))
    stepper.gate.release()
    until(lambda: len(stepper.seen) == 1)
    engine.submit(MODEL, works(Job(9.0), ends, "short"))
    for _ in range(3):  # one step may have begun without it
        stepper.gate.release()
    assert ends.wait("long", "short") == ["long", "short"]
    assert stepper.seen[0] == ["long"]
    assert ["long", "short"] in stepper.seen


def test_a_short_request_is_not_held_up_by_a_document(engine: Engine, stepper: Counting) -> None:
    ends = Ends()
    engine.submit(MODEL, works(Job(9.0), ends, "d1 d2 d3 d4 d5 d6 d7 d8"))
    engine.submit(MODEL, works(Job(9.0), ends, "short"))
    for _ in range(9):
        stepper.gate.release()
    ends.wait("d8", "short")
    turns = [turn for turn, names in enumerate(stepper.seen) if "short" in names]
    assert turns <= [1], "it has a place in the second step at the latest"
    assert all(len(names) <= 4 for names in stepper.seen)


def test_one_text_wider_than_the_batch_goes_alone(engine: Engine, stepper: Counting) -> None:
    ends = Ends()
    engine.submit(MODEL, works(Job(9.0), ends, "wide", wide=9))
    stepper.gate.release()
    assert ends.wait("wide") == ["wide"]


def test_who_gives_up_leaves_at_the_next_step(engine: Engine, stepper: Counting) -> None:
    ends, gone = Ends(), Job(9.0)
    engine.submit(MODEL, works(gone, ends, "a b c d e f", steps=100))
    engine.submit(MODEL, works(Job(9.0), ends, "stays", steps=4))
    stepper.gate.release()
    until(lambda: len(stepper.seen) == 1)
    gone.give_up("disconnect")
    for _ in range(5):
        stepper.gate.release()
    results = ends.wait(*"abcdef", "stays")
    assert all(isinstance(result, GivenUpError) for result in results[:-1])
    assert results[-1] == "stays"
    assert sum("a" in names for names in stepper.seen) <= 2, "at most one more step"
    assert set(ends.calls.values()) == {1}


def test_an_error_while_joining_is_one_text_s_own(engine: Engine, stepper: Counting) -> None:
    ends = Ends()
    engine.submit(MODEL, works(Job(9.0), ends, "good bad fine"))
    for _ in range(3):
        stepper.gate.release()
    good, bad, fine = ends.wait("good", "bad", "fine")
    assert (good, fine) == ("good", "fine")
    assert isinstance(bad, ModelError)


def test_a_step_that_fails_ends_its_texts_and_the_thread_goes_on(engine: Engine, stepper: Counting) -> None:
    ends = Ends()
    stepper.fault = "out of order"
    engine.submit(MODEL, works(Job(9.0), ends, "a b"))
    stepper.gate.release()
    assert all(isinstance(result, ModelError) for result in ends.wait("a", "b"))
    stepper.fault = ""
    engine.submit(MODEL, works(Job(9.0), ends, "next"))
    stepper.gate.release()
    assert ends.wait("next") == ["next"]


def test_at_the_end_all_are_given_up(stepper: Counting) -> None:
    ends, made = Ends(), Engine(rows=1, threads=1, metrics=Metrics())
    made.submit(MODEL, works(Job(9.0), ends, "runs waits", steps=100))
    stepper.gate.release()
    until(lambda: bool(stepper.seen))
    for _ in range(100):
        stepper.gate.release()
    made.close()
    assert all(isinstance(result, GivenUpError) for result in ends.wait("runs", "waits"))
    with pytest.raises(GivenUpError):
        made.submit(MODEL, [])


def test_of_two_models_none_has_more_than_half_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order, seconds = [0.0], list[str](), {"slow": 1.0, "quick": 0.125}

    class Ordered(Timed):
        def step(self, threads: int) -> list[tuple[Counted, Any]]:
            order.append(self.works[0].name)
            self.gate.release()
            return super().step(threads)

    monkeypatch.setattr(module, "stepper_for", lambda *_: Ordered(clock, seconds))
    worker = Worker(rows=4, threads=1, post=Post(), metrics=Metrics(), workers=[])
    worker.workers = [worker]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    ends, wanted = Ends(), (("slow", 6), ("quick", 30))
    models = [object.__new__(NativeModel) for _ in wanted]
    for model, (name, steps) in zip(models, wanted, strict=True):
        worker.submit(model, works(Job(9.0), ends, name, steps=steps))
    worker.start()
    ends.wait("slow", "quick")
    worker.close()
    monkeypatch.undo()
    for end in range(1, len(order)):
        slow, quick = order[:end].count("slow"), 0.125 * order[:end].count("quick")
        assert order[end:].count("slow") == 0 or abs(slow - quick) <= 1.25


def test_threads_are_shared_while_another_worker_has_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[int]()

    class Told(Counting):
        def step(self, threads: int) -> list[tuple[Counted, Any]]:
            given.append(threads)
            self.gate.release()
            return super().step(threads)

    monkeypatch.setattr(module, "stepper_for", lambda *_: Told())
    workers, ends = list[Worker](), Ends()
    shared: Any = {"post": Post(), "metrics": Metrics(), "workers": workers}
    workers += [Worker(rows=4, threads=4, **shared) for _ in range(2)]
    first, other = workers
    first.start()
    first.submit(MODEL, works(Job(9.0), ends, "alone", wide=3))
    ends.wait("alone")
    assert first.rows_asked == 0, "what is over is asked for no more"
    other.rows_asked = 1
    first.submit(MODEL, works(Job(9.0), ends, "beside bad"))
    ends.wait("beside", "bad")
    assert (given, first.rows_asked) == ([4, 2], 0)
    first.close()
