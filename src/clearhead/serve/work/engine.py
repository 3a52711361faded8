"""The thread that steps all texts: of every model a batch that texts join at any step, and leave when they are done."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.pages import trim
from clearhead.errors import ClearheadError, ModelError
from clearhead.serve.metrics import Metrics
from clearhead.serve.work.delivery import Post
from clearhead.serve.work.jobs import GivenUpError, Job
from clearhead.serve.work.steppers import Stepper, Work, stepper_for

IDLE = 30.0
"""Seconds after which the batch of a model without texts is freed."""


@dataclass(eq=False)
class _Batch:
    """The texts of one model: those that are stepped, and those that wait, by the request that they are of."""

    stepper: Stepper
    waiting: dict[Job, deque[Work]] = field(default_factory=dict)
    running: dict[Job, set[Work]] = field(default_factory=dict)
    used: float = 0.0
    """When it was last stepped."""

    @property
    def is_idle(self) -> bool:
        return not (self.waiting or self.running)


class Engine:
    """Steps texts in a thread of its own, and hands each to who waits for it.

    While texts wait, the next to join is of the request that has the fewest rows in the batch: so a short text is not
    held up by a long document that came before it.

    Args:
        rows: most rows of a batch; a request that is alone may have more, if one text of it has.
        threads: that compute.
        metrics: what is counted.
    """

    def __init__(self, *, rows: int, threads: int, metrics: Metrics) -> None:
        self.rows, self.threads, self.metrics, self.post = rows, threads, metrics, Post()
        self._batches: dict[int, _Batch] = {}
        self._inbox: deque[tuple[NativeModel, list[Work]]] = deque()
        self._wake, self._closing = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def running_rows(self) -> int:
        """Rows that are stepped now."""
        return sum(len(batch.stepper) for batch in list(self._batches.values()))

    def submit(self, model: NativeModel, works: Sequence[Work]) -> None:
        """Takes texts of one request, which ``Work.finish`` is called for one by one, in this object's thread."""
        with self._wake:
            if self._closing:
                raise GivenUpError
            self._inbox.append((model, list(works)))
            self._wake.notify()

    def wake(self) -> None:
        """Has the thread look whether a request was given up."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """Gives up what runs, and ends the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._inbox or self._closing or self._busy):
                    self._wake.wait(IDLE if self._batches else None)
                    self._forget()
                arrived = [self._inbox.popleft() for _ in range(len(self._inbox))]
                closing = self._closing
            for model, works in arrived:
                self._take(model, works)
            for batch in self._batches.values():
                try:
                    self._turn(batch, closing=closing)
                except Exception as error:  # whatever it is, it is this batch's, and the thread goes on
                    self._fail(batch, error)
            self.post.send()
            if closing:
                return

    @property
    def _busy(self) -> bool:
        return any(not batch.is_idle for batch in self._batches.values())

    def _forget(self) -> None:
        """Frees the memory of models that nobody has asked for a while, as of one whose place another has taken."""
        now = time.monotonic()
        idle = [key for key, batch in self._batches.items() if batch.is_idle and now - batch.used >= IDLE]
        for key in idle:
            del self._batches[key]
        if idle:
            trim()

    def _take(self, model: NativeModel, works: list[Work]) -> None:
        key = id(model)  # which the stepper keeps alive
        try:
            if works and key not in self._batches:
                self._batches[key] = _Batch(stepper_for(model, works[0], self.threads))
        except Exception as error:
            for work in works:
                work.finish(_known(error))
            return
        for work in works:
            self._batches[key].waiting.setdefault(work.job, deque()).append(work)

    def _turn(self, batch: _Batch, *, closing: bool) -> None:
        """Lets texts leave and join, and steps those that are there."""
        for job in [*batch.waiting, *batch.running]:
            if closing:
                job.give_up("shutdown")
            if job.over.is_set():
                self._drop(batch, job)
        self._join(batch)
        if not batch.running:
            return
        self.metrics.batch.see(float(len(batch.stepper)))
        over, batch.used = batch.stepper.step(), time.monotonic()
        for work, result in over:
            self._end(batch, work)
            work.finish(result)

    def _join(self, batch: _Batch) -> None:
        """Lets as many texts join as there is room for."""
        rows, joining = len(batch.stepper), list[Work]()
        counts = {job: len(works) for job, works in batch.running.items()}
        while batch.waiting:
            job = min(batch.waiting, key=lambda each: (counts.get(each, 0), each.number))
            work = batch.waiting[job][0]
            if rows and rows + work.rows > self.rows:
                break
            batch.waiting[job].popleft()
            if not batch.waiting[job]:
                del batch.waiting[job]
            if job.started is None:
                self.metrics.queued.see(job.start())
            rows, counts[job] = rows + work.rows, counts.get(job, 0) + 1
            joining.append(work)
        try:
            batch.stepper.join(joining)
        except ClearheadError:
            joining = [work for work in joining if self._joins_alone(batch, work)]
        for work in joining:
            batch.running.setdefault(work.job, set()).add(work)

    @staticmethod
    def _joins_alone(batch: _Batch, work: Work) -> bool:
        """Lets one text join, as one of several cannot; that one ends with its error."""
        try:
            batch.stepper.join([work])
        except ClearheadError as error:
            work.finish(error)
            return False
        return True

    def _end(self, batch: _Batch, work: Work) -> None:
        running = batch.running[work.job]
        running.discard(work)
        if not running:
            del batch.running[work.job]

    def _drop(self, batch: _Batch, job: Job) -> None:
        """Ends all texts of a request that nobody wants any more."""
        for work in batch.waiting.pop(job, ()):
            work.finish(GivenUpError())
        for work in batch.running.pop(job, ()):
            batch.stepper.leave(work)
            work.finish(GivenUpError())

    def _fail(self, batch: _Batch, error: Exception) -> None:
        """Ends all texts of a batch that cannot go on."""
        running = [work for works in batch.running.values() for work in works]
        waiting = [work for works in batch.waiting.values() for work in works]
        batch.running.clear()
        batch.waiting.clear()
        for work in running:
            with contextlib.suppress(Exception):
                batch.stepper.leave(work)
        for work in [*running, *waiting]:
            with contextlib.suppress(Exception):
                work.finish(_known(error))


def _known(error: Exception) -> ClearheadError:
    return error if isinstance(error, ClearheadError) else ModelError(f"{type(error).__name__}: {error}")
