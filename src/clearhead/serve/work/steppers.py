"""The texts of a model that are stepped together: translations of a search, or what a language model writes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.search import NativeSearch
from clearhead.engine.loops.searches import Searches
from clearhead.engine.loops.writing import Writing
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError
from clearhead.serve.work.jobs import Job
from clearhead.text.phrase_book import Demand

FREE = Demand()


@dataclass(eq=False)
class Work(ABC):
    """A text that is computed for a request."""

    job: Job
    on_end: Callable[["Work", Any], object]
    """Called with what came of it: the result, or an exception."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows it takes."""

    @property
    @abstractmethod
    def size(self) -> int:
        """About how many steps it takes."""

    def finish(self, result: Any) -> None:
        """Hands over what came of it."""
        self.on_end(self, result)


@dataclass(eq=False)
class SourceWork(Work):
    """A source that is translated."""

    source: list[int]
    search: NativeSearch
    prefix: list[int]
    limit: int
    text_of: Callable[[list[int]], Hashable] | None
    place: int
    """Where it stands among those of its request."""
    shortlist: NDArray[np.int32] | None = None
    """The pieces that may translate it; None: all may."""
    demand: Demand = FREE
    """The phrases that its translation must and must not contain."""
    on_settled: Callable[[list[int], bool], object] | None = None
    """Called after each step with the pieces that its translation will begin with, whatever comes; True: all of it."""

    @property
    def rows(self) -> int:
        """See ``Work``."""
        return self.search.beam

    @property
    def size(self) -> int:
        """See ``Work``."""
        return len(self.source)


@dataclass(eq=False)
class TextWork(Work):
    """A text that a language model writes."""

    prompt: list[int]
    settings: SamplerSettings
    limit: int
    sample: int
    stopped: Callable[[int], bool]
    """Called with each piece; True ends the text."""
    on_piece: Callable[[int, float, list[tuple[int, float]]], object]
    """Called with each piece after ``stopped``, its log-probability, and the most probable ones."""
    top: int = 0
    """How many of these are wanted."""

    @property
    def rows(self) -> int:
        """See ``Work``."""
        return 1

    @property
    def size(self) -> int:
        """See ``Work``."""
        return self.limit


class Stepper(ABC):
    """Texts of one model that are stepped together; for one thread.

    Args:
        batch: the loop of the engine that steps them; it numbers its texts.
    """

    def __init__(self, batch: Searches | Writing) -> None:
        self._batch = batch
        self._works = dict[int, Any]()
        self._tickets = dict[Work, int]()

    def __len__(self) -> int:
        """Rows that are stepped."""
        return len(self._batch)

    def join(self, works: Sequence[Any]) -> None:
        """Adds texts, all or none.

        Raises:
            ModelError: the model cannot compute one of them.
        """
        joined: dict[int, Work] = {}
        try:
            for ticket, work in self._joining(works):
                joined[ticket] = work
        except ModelError:
            self._batch.leave(*joined)
            raise
        self._works |= joined
        self._tickets |= {work: ticket for ticket, work in joined.items()}

    def leave(self, work: Work) -> None:
        """Takes a text out, if it is there."""
        if work in self._tickets:
            self._batch.leave(self._tickets[work])
            self._over(self._tickets[work])

    @abstractmethod
    def step(self, threads: int) -> list[tuple[Any, Any]]:
        """Steps all; returns those that are over, each with its result or an exception.

        Args:
            threads: that products have where those that sources are spread over have none.
        """

    @abstractmethod
    def _joining(self, works: Sequence[Any]) -> Iterator[tuple[int, Work]]:
        """Has the batch take texts one after another; yields each with its number there."""

    def _over(self, ticket: int) -> Any:
        """Forgets a text, and returns it."""
        work = self._works.pop(ticket)
        del self._tickets[work]
        return work


class SourceStepper(Stepper):
    """Sources that are being translated.

    Args:
        model: an encoder-decoder.
        threads: that share the rows.
    """

    def __init__(self, model: NativeModel, threads: int) -> None:
        self._searches = Searches(model, threads)
        super().__init__(self._searches)

    def step(self, threads: int) -> list[tuple[SourceWork, Any]]:
        """See ``Stepper``."""
        over = [(self._over(ticket), outcome) for ticket, outcome in self._searches.step(threads=threads)]
        for work, outcome in over:
            if work.on_settled is not None and isinstance(outcome, list) and outcome:
                work.on_settled(outcome[0].ids, True)
        for ticket, work in self._works.items():
            if work.on_settled is not None:
                work.on_settled(self._searches.settled(ticket), False)
        return over

    def _joining(self, works: Sequence[SourceWork]) -> Iterator[tuple[int, Work]]:
        readers: dict[Any, list[SourceWork]] = {}
        for work in works:
            readers.setdefault((work.text_of, work.shortlist is None), []).append(work)
        for (text_of, _), group in readers.items():
            tickets = self._searches.join(
                [work.source for work in group],
                [work.search for work in group],
                limits=[work.limit for work in group],
                prefixes=[work.prefix for work in group],
                shortlists=[work.shortlist for work in group if work.shortlist is not None],
                demands=[work.demand for work in group],
                text_of=text_of,
            )
            yield from zip(tickets, group, strict=True)


class TextStepper(Stepper):
    """Texts that are being written.

    Args:
        model: a decoder-only model.
        threads: that share the products.
    """

    def __init__(self, model: NativeModel, threads: int) -> None:
        self._writing = Writing(model, threads)
        super().__init__(self._writing)

    def step(self, threads: int) -> list[tuple[TextWork, Any]]:
        """See ``Stepper``."""
        over = []
        for written in self._writing.step():
            if written.piece >= 0:
                self._works[written.ticket].on_piece(written.piece, written.log_prob, written.best)
            if written.over is not None:
                over.append((self._over(written.ticket), written.over))
        return over

    def _joining(self, works: Sequence[TextWork]) -> Iterator[tuple[int, Work]]:
        for work in works:
            own: Any = {"limit": work.limit, "sample": work.sample, "stopped": work.stopped, "best": work.top}
            yield self._writing.join(work.prompt, work.settings, **own), work


def stepper_for(model: NativeModel, work: Work, threads: int) -> Stepper:
    """Returns what steps texts of this kind."""
    return SourceStepper(model, threads) if isinstance(work, SourceWork) else TextStepper(model, threads)
