"""The texts of a model that are stepped together: translations of a search, or what a language model writes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from clearhead.engine.loops.continuation import Continuation
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.search import NativeHypothesis, NativeSearch, translate
from clearhead.engine.rows import NativeModel
from clearhead.serve.work.delivery import Post
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
    limit: int
    text_of: Callable[[list[int]], Hashable] | None
    place: int
    """Where it stands among those of its request."""

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
    on_piece: Callable[["TextWork", int, float, list[tuple[int, float]]], object]
    """Called with each piece, its log-probability, and the most probable ones."""
    top: int = 0
    """How many of these are wanted."""
    ids: list[int] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """See ``Work``."""
        return 1


class Stepper(ABC):
    """Texts of one model; for one thread."""

    @abstractmethod
    def __len__(self) -> int:
        """Rows that are stepped."""

    @abstractmethod
    def join(self, work: Any) -> None:
        """Adds a text.

        Raises:
            ModelError: the model cannot compute it.
        """

    @abstractmethod
    def leave(self, work: Any) -> None:
        """Takes a text out."""

    @abstractmethod
    def step(self) -> list[tuple[Any, Any]]:
        """Steps all; returns those that are over, each with its result or a ModelError."""


class SourceStepper(Stepper):
    """TEMPORARY."""

    def __init__(self, model: NativeModel, threads: int) -> None:
        self.model, self.threads, self.works = model, threads, list[SourceWork]()

    def __len__(self) -> int:
        return sum(work.rows for work in self.works)

    def join(self, work: SourceWork) -> None:
        self.works.append(work)

    def leave(self, work: SourceWork) -> None:
        if work in self.works:
            self.works.remove(work)

    def step(self) -> list[tuple[SourceWork, list[NativeHypothesis]]]:
        over = []
        for work in self.works:
            found = translate(
                self.model, [work.source], work.search, limits=[work.limit], threads=self.threads, text_of=work.text_of
            )
            over.append((work, found[0]))
        self.works = []
        return over


class TextStepper(Stepper):
    """TEMPORARY."""

    def __init__(self, model: NativeModel, threads: int, post: Post) -> None:
        self.model, self.threads, self.rows = model, threads, {}

    def __len__(self) -> int:
        return len(self.rows)

    def join(self, work: TextWork) -> None:
        from clearhead.engine.loops.sampler import NativeSampler
        from clearhead.engine.loops.windows import Texts

        texts = Texts(self.model, [work.prompt], threads=self.threads)
        self.rows[work] = (
            texts,
            NativeSampler(work.settings, self.model.vocab),
            work.settings.text(work.prompt),
            Continuation(),
        )

    def leave(self, work: TextWork) -> None:
        self.rows.pop(work, None)

    def step(self):
        import numpy as np

        from clearhead.engine.loops.sampler import uniforms

        over = []
        for work, (texts, sampler, begin, found) in list(self.rows.items()):
            history = np.array([begin + found.ids], dtype=np.int32)
            one = lambda n: np.array([n], dtype=np.int32)
            numbers = uniforms(work.settings.config.seed, [work.sample], [len(found.ids)])
            pieces, log_probs = sampler.draw(texts.logits, history, one(history.shape[1]), one(len(begin)), numbers)
            piece, log_prob = int(pieces[0]), float(log_probs[0])
            work.on_piece(work, piece, log_prob, [])
            if found.take(piece, log_prob, ends=work.settings.marks, limit=work.limit, stopped=work.stopped):
                over.append((work, found))
                del self.rows[work]
            else:
                texts.advance(pieces)
        return over


def stepper_for(model: NativeModel, work: Work, threads: int, post: Post) -> Stepper:
    """Returns what steps works of this kind."""
    return SourceStepper(model, threads) if isinstance(work, SourceWork) else TextStepper(model, threads, post)
