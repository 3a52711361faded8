"""The training of an n-gram model: documents, tokenizer, encoded stream, one pass of counting, scores, model card."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clearhead.config import Tree
from clearhead.data.documents import TextReport
from clearhead.data.stream import TokenStream
from clearhead.errors import UsageError
from clearhead.models.ngram import Ngram
from clearhead.progress import Progress, silent
from clearhead.runs.card import CardFacts
from clearhead.runs.text_parts import load_text_parts
from clearhead.tasks.language_model.ngram import (
    FILE,
    NgramLanguageModel,
    NgramRecipe,
    count_ngrams,
    ngram_sizes,
    parse_ngram,
)
from clearhead.tasks.language_model.recipe import read_streams
from clearhead.training.events import Counted, Evaluated, Event, Finished
from clearhead.training.job import Job


@dataclass
class Count:
    """What ``fit`` has found."""

    model: Ngram | None = None
    step: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    evaluated_step: int = 0


@dataclass(frozen=True)
class NgramJob(Job):
    """See ``Job``."""

    recipe: NgramRecipe
    train: TokenStream
    valid: TokenStream
    count: Count = field(default_factory=Count)

    @property
    def progress(self) -> Count:
        """See ``Job``."""
        return self.count

    @property
    def parameters(self) -> int:
        """See ``Job``: n-grams stored, none before ``fit``."""
        return self.count.model.size if self.count.model else 0

    @property
    def max_steps(self) -> int:
        """See ``Job``."""
        return 1

    def fit(self, run: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """See ``Job``; what is stopped has counted nothing."""
        started = time.perf_counter()
        model = count_ngrams(self.recipe, self.train, self.parts.tokenizer.vocab_size)
        counted = time.perf_counter()
        if should_stop():
            yield Finished(0, "interrupted")
            return
        model.save(run / FILE)
        yield Counted(1, len(self.train), counted - started)
        began = time.perf_counter()
        loss = NgramLanguageModel(self.recipe, self.parts.tokenizer, model).total_loss(self.valid) / len(self.valid)
        done, ended = self.count, time.perf_counter()
        done.model, done.step, done.seconds, done.scores = model, 1, ended - started, {"loss": loss}
        yield Evaluated(1, done.scores, best=True, seconds=ended - began)
        yield Finished(1, "complete")

    def reports(self) -> dict[str, TextReport]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``."""
        return self.parts.tokenizer.size()

    def headline(self) -> str:
        """See ``Job``."""
        return f"model: {ngram_sizes(self.recipe.model)}, {self.vocabulary()}"

    def save(self, run: Path) -> None:
        """See ``Job``.

        Raises:
            UsageError: the run is complete.
        """
        if (run / FILE).exists():
            raise UsageError(f"--resume: run {str(run)!r} is complete, an n-gram model is counted in one pass")
        super().save(run)

    def facts(self) -> CardFacts:
        """See ``Job``."""
        return CardFacts(
            what="A language model",
            sizes=ngram_sizes(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.parts.tokenizer.vocab_size:,} pieces",
            commands=['generate {} "..."', "evaluate {} --data DIR --split valid"],
        )


def prepare_ngram(
    tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent
) -> NgramJob:
    """Reads the documents, trains a tokenizer and encodes; see ``Family.prepare``."""
    recipe = parse_ngram(tree, source)
    known = load_text_parts(run) if run else None
    parts, train, valid = read_streams(data, recipe.data, tokenizer=recipe.tokenizer, known=known, progress=progress)
    return NgramJob(recipe, parts, train, valid)
