"""What handlers ask for computing: a call that may wait, take too long, or lose its client; or a stream of pieces."""

import asyncio
import contextlib
import contextvars
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.native import hypotheses_of
from clearhead.engine.rows import NativeModel
from clearhead.serve.http.request_error import too_many
from clearhead.serve.metrics import Metrics
from clearhead.serve.settings import ServeSettings
from clearhead.serve.work.delivery import Delivery, Gathered
from clearhead.serve.work.engine import Engine
from clearhead.serve.work.jobs import GivenUpError, Job, Reason
from clearhead.serve.work.lane import CURRENT, Lane
from clearhead.serve.work.steppers import SourceWork, TextWork, Work
from clearhead.tasks.native import NativeUser, engine_model
from clearhead.tasks.translation.search.native import Batch, Searching, native_search_of
from clearhead.tasks.translation.texts import TextTranslator

T = TypeVar("T")
Receive = Callable[[], Awaitable[Any]]
Settle = Callable[[int, list[int], bool], object]
CALLERS = 64
"""Threads of requests that are computed by a call, or have long texts."""
SHORT = 2000
"""Characters of texts that are encoded and joined in the event loop: that takes less than to wake a thread."""
ALIVE = 15.0
"""Seconds after which a stream says that it is still there."""


@dataclass(frozen=True)
class Ended:
    """The last event of a text of a stream."""

    place: int
    result: Any
    """What came of it, or an exception."""


class Service:
    """Computes for requests: counts those that wait, and gives up those that nobody waits for.

    Args:
        settings: limits.
        metrics: what is counted.
    """

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.threads = settings.threads or len(os.sched_getaffinity(0))
        self.engine = Engine(rows=settings.rows, threads=self.threads, metrics=metrics)
        self.lane, self._reading = Lane(metrics), Lane(metrics, torch=False)
        self._pool = ThreadPoolExecutor(CALLERS, thread_name_prefix="caller")
        self._jobs: set[Job] = set()

    @property
    def waiting(self) -> int:
        """Requests of which nothing has been computed yet."""
        return sum(job.started is None for job in self._jobs)

    @property
    def running(self) -> int:
        """Requests that are being computed."""
        return len(self._jobs) - self.waiting

    def admit(self) -> Job:
        """Returns the job of a new request.

        Raises:
            RequestError: too many wait already (429).
        """
        if self.waiting >= self.settings.queue:
            raise too_many(f"{self.settings.queue} requests wait already")
        job = Job(self.settings.timeout)
        self._jobs.add(job)
        return job

    def _dismiss(self, job: Job) -> None:
        self._jobs.discard(job)
        if job.reason:
            self.metrics.cancelled.add(job.reason)
        job.over.set()

    async def call(self, receive: Receive, function: Callable[[], T]) -> T:
        """Returns what a function returns, which is called in a thread.

        Args:
            receive: of the request, whose body has been read: says when the client has gone.
            function: may block.

        Raises:
            RequestError: it waited or took too long, or nobody waits for it any more.
        """
        with self._admitted(receive) as waiting:
            CURRENT.set(waiting.job)
            return await waiting.until(self._aside(waiting.job, function))

    def lane_of(self, model: NativeUser) -> Lane:
        """Returns where calls of a model have their turn: what the engine computes does not wait for PyTorch."""
        return self.lane if engine_model(model) is None else self._reading

    async def call_on_lane(self, receive: Receive, function: Callable[[], T], lane: Lane) -> T:
        """Returns what a function returns, which a lane calls in its turn; all else as of ``call``."""
        with self._admitted(receive) as waiting:
            return await self._on_lane(waiting, function, lane)

    async def _on_lane(self, waiting: "_Waiting", function: Callable[[], T], lane: Lane) -> T:
        return await waiting.until(asyncio.wrap_future(lane.submit(waiting.job, function)))

    async def carry_out(
        self,
        receive: Receive,
        translator: TextTranslator,
        searching: Searching[T],
        size: int,
        on_settled: Settle | None = None,
    ) -> T:
        """Returns what comes of searches, which are batched with all others.

        Args:
            receive: see ``call``.
            translator: that is searched with.
            searching: says what to search for.
            size: characters of its texts; only where they are few is the event loop the place to encode and join them.
            on_settled: called, in the thread that computes, with the number of a part of the texts and the pieces that
                its translation will begin with, whatever comes, or all of them; where steps give it.

        Raises:
            RequestError: see ``call``.
        """
        with self._admitted(receive) as waiting:
            found: list[Any] | None = None
            while True:
                go_on = functools.partial(_gone_on, searching, found)
                over = go_on() if size <= SHORT else await waiting.until(self._aside(waiting.job, go_on))
                if isinstance(over, _Result):
                    result: T = over.value
                    return result
                found = await self._search(waiting, translator, over, on_settled)

    def _aside(self, job: Job, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Has a thread call a function, unless nobody wants its job any more by then (GivenUpError)."""

        def work() -> T:
            job.check()
            return function()

        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, contextvars.copy_context().run, work)

    async def _search(
        self,
        waiting: "_Waiting",
        translator: TextTranslator,
        wanted: list[tuple[Batch, SearchConfig]],
        on_settled: Settle | None,
    ) -> list[list[list[Hypothesis]]]:
        """Has batches searched for: by the engine at once with those of all others, or each in its turn on the lane."""
        model, tokenizer = engine_model(translator), translator.tokenizers.tgt
        if model is None:
            searches = [functools.partial(translator.search, *each) for each in wanted]
            return [await self._on_lane(waiting, search, self.lane) for search in searches]
        count, works = sum(len(batch.sources) for batch, _ in wanted), list[Work]()
        gathered = Gathered(asyncio.get_running_loop(), count, self.engine.post)
        for batch, config in wanted:
            search, text_of = native_search_of(tokenizer, config), translator.text_of if config.n_best > 1 else None
            for place, source in enumerate(batch.sources):
                own = (batch.prefixes[place], batch.limits[place], text_of, len(works))
                pieces = batch.shortlists[place] if batch.shortlists else None
                told = on_settled and functools.partial(on_settled, batch.rows[place])
                asked = (pieces, batch.demands[place], told)
                works.append(SourceWork(waiting.job, gathered.take, [*source, tokenizer.ids.eos], search, *own, *asked))
        self.engine.submit(model, works)
        results = await waiting.until(gathered.all)
        found = iter(results)
        return [hypotheses_of([next(found) for _ in batch.sources], config.length_penalty) for batch, config in wanted]

    @contextlib.contextmanager
    def _admitted(self, receive: Receive, ended: Reason = "shutdown") -> Iterator["_Waiting"]:
        """Has a request as long as it is computed; what becomes of it is told its client as an error.

        Args:
            receive: see ``call``.
            ended: why it is given up where who answers it is ended from outside.
        """
        job = self.admit()
        waiting = _Waiting(job)
        gone = asyncio.get_running_loop().create_task(until_gone(receive))
        gone.add_done_callback(waiting.left)
        try:
            yield waiting
        except GivenUpError:
            raise job.error() from None
        except (asyncio.CancelledError, GeneratorExit):
            job.give_up(ended)
            raise
        finally:
            gone.cancel()
            self._dismiss(job)

    async def stream(
        self, receive: Receive, make: Callable[[Job, Delivery], tuple[NativeModel, list[TextWork]]]
    ) -> AsyncIterator[list[Any]]:
        """Yields what texts are written, in portions; an empty one where nothing has come for ``ALIVE`` seconds.

        Args:
            receive: see ``call``.
            make: returns the model and the texts, which send their events to the delivery.

        Raises:
            RequestError: see ``call``.
        """

        def begin(job: Job, delivery: Delivery) -> int:
            model, works = make(job, delivery)
            self.engine.submit(model, works)
            return len(works)

        async for events in self._streamed(receive, begin):
            yield events

    async def stream_call(
        self, receive: Receive, write: Callable[[Job, Delivery], object], count: int
    ) -> AsyncIterator[list[Any]]:
        """Yields what a call on the lane writes: ``count`` texts, each of which ends with ``Ended``; see ``stream``."""

        def begin(job: Job, delivery: Delivery) -> int:
            def tell(future: "Future[object]") -> None:
                if not future.cancelled() and (error := future.exception()):
                    delivery.send([Ended(0, error)])

            self.lane.submit(job, lambda: write(job, delivery)).add_done_callback(tell)
            return count

        async for events in self._streamed(receive, begin):
            yield events

    async def _streamed(self, receive: Receive, begin: Callable[[Job, Delivery], int]) -> AsyncIterator[list[Any]]:
        with self._admitted(receive, "disconnect") as waiting:
            delivery = Delivery(asyncio.get_running_loop())
            left = begin(waiting.job, delivery)
            while left:
                events = await waiting.until(delivery.next(), otherwise=list)
                left -= _ended(events)
                yield events

    def close(self) -> None:
        """Gives up what runs, and ends all threads."""
        for job in list(self._jobs):
            job.give_up("shutdown")
        self.engine.close()
        self.lane.close()
        self._reading.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Waiting:
    """A request that is computed, and what is done once its time is over or its client has gone.

    Args:
        job: the request.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._future: asyncio.Future[Any] | None = None
        self._timers = list[asyncio.TimerHandle]()

    async def until(self, future: "asyncio.Future[T]", otherwise: Callable[[], T] | None = None) -> T:
        """Returns what comes of a part of its work.

        Args:
            future: of that.
            otherwise: returns what is taken for it where nothing has come for ``ALIVE`` seconds; None: nothing is.

        Raises:
            RequestError: it waited or took too long, or nobody waits for it any more.
        """
        future.add_done_callback(_read)
        self.job.expire()
        if self.job.reason:
            raise self.job.error()
        loop, self._future = future.get_loop(), future
        self._timers = [loop.call_at(self.job.deadline, self._look, loop)]
        if otherwise is not None:
            self._timers.append(loop.call_later(ALIVE, _settle, future, otherwise))
        try:
            return await future
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.job.reason is None or (task is not None and task.cancelling()):
                raise
            raise self.job.error() from None
        finally:
            self._future = None
            for timer in self._timers:
                timer.cancel()

    def left(self, task: "asyncio.Task[None]") -> None:
        """Gives it up: its client has gone."""
        if not task.cancelled():
            self.job.give_up("disconnect")
            self._break_off()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives it up if its time has passed; it has some more where it has begun meanwhile."""
        self.job.expire()
        if self.job.reason:
            self._break_off()
        elif self._future is not None:
            self._timers.append(loop.call_at(self.job.deadline, self._look, loop))

    def _break_off(self) -> None:
        if self._future is not None:
            self._future.cancel()


@dataclass(frozen=True)
class _Result:
    """What has come of searches."""

    value: Any


def _gone_on(searching: Searching[Any], found: list[Any] | None) -> list[tuple[Batch, SearchConfig]] | _Result:
    """Returns what is to be searched for next, or what has come of it all."""
    try:
        return list(next(searching) if found is None else searching.send(found))
    except StopIteration as end:
        return _Result(end.value)


def _ended(events: list[Any]) -> int:
    """Returns how many texts are over; raises the exception of one that failed."""
    results = [event.result for event in events if isinstance(event, Ended)]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return len(results)


def _settle(future: "asyncio.Future[T]", otherwise: Callable[[], T]) -> None:
    if not future.done():
        future.set_result(otherwise())


async def until_gone(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _read(future: "asyncio.Future[Any]") -> None:
    """Looks at what came of a call that nobody waits for, so that asyncio does not tell of it."""
    if not future.cancelled():
        future.exception()
