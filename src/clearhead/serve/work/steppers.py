"""The texts of a model that are stepped together: translations of a search, or what a language model writes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
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

    @property
    def rows(self) -> int:
        """See ``Work``."""
        return self.search.beam


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


class Stepper(ABC):
    """Texts of one model that are stepped together; for one thread."""

    @abstractmethod
    def __len__(self) -> int:
        """Rows that are stepped."""

    @abstractmethod
    def join(self, works: Sequence[Any]) -> None:
        """Adds texts, all or none.

        Raises:
            ModelError: the model cannot compute one of them.
        """

    @abstractmethod
    def leave(self, work: Any) -> None:
        """Takes a text out, if it is there."""

    @abstractmethod
    def step(self) -> list[tuple[Any, Any]]:
        """Steps all; returns those that are over, each with its result or an exception."""


class SourceStepper(Stepper):
    """Sources that are being translated.

    Args:
        model: an encoder-decoder.
        threads: that share the rows.
    """

    def __init__(self, model: NativeModel, threads: int) -> None:
        self._searches, self._works = Searches(model, threads), dict[int, SourceWork]()

    def __len__(self) -> int:
        """See ``Stepper``."""
        return len(self._searches)

    def join(self, works: Sequence[SourceWork]) -> None:
        """See ``Stepper``."""
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
                text_of=text_of,
            )
            self._works |= zip(tickets, group, strict=True)

    def leave(self, work: SourceWork) -> None:
        """See ``Stepper``."""
        for ticket in [ticket for ticket, each in self._works.items() if each is work]:
            self._searches.leave(ticket)
            del self._works[ticket]

    def step(self) -> list[tuple[SourceWork, Any]]:
        """See ``Stepper``."""
        return [(self._works.pop(ticket), outcome) for ticket, outcome in self._searches.step()]


class TextStepper(Stepper):
    """Texts that are being written.

    Args:
        model: a decoder-only model.
        threads: that share the products.
    """

    def __init__(self, model: NativeModel, threads: int) -> None:
        self._writing, self._works = Writing(model, threads), dict[int, TextWork]()

    def __len__(self) -> int:
        """See ``Stepper``."""
        return len(self._writing)

    def join(self, works: Sequence[TextWork]) -> None:
        """See ``Stepper``."""
        joined: list[int] = []
        try:
            for work in works:
                own: Any = {"limit": work.limit, "sample": work.sample, "stopped": work.stopped, "best": work.top}
                joined.append(self._writing.join(work.prompt, work.settings, **own))
        except ModelError:
            self._writing.leave(*joined)
            raise
        self._works |= zip(joined, works, strict=True)

    def leave(self, work: TextWork) -> None:
        """See ``Stepper``."""
        for ticket in [ticket for ticket, each in self._works.items() if each is work]:
            self._writing.leave(ticket)
            del self._works[ticket]

    def step(self) -> list[tuple[TextWork, Any]]:
        """See ``Stepper``."""
        over = []
        for written in self._writing.step():
            work = self._works[written.ticket]
            if written.piece >= 0:
                work.on_piece(written.piece, written.log_prob, written.best)
            if written.over is not None:
                over.append((self._works.pop(written.ticket), written.over))
        return over


def stepper_for(model: NativeModel, work: Work, threads: int) -> Stepper:
    """Returns what steps texts of this kind."""
    return SourceStepper(model, threads) if isinstance(work, SourceWork) else TextStepper(model, threads)
