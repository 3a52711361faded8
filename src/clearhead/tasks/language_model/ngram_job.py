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
from clearhead.runs.tokenizers import load_tokenizer, save_tokenizer
from clearhead.tasks.language_model.ngram import (
    FILE,
    NgramLanguageModel,
    NgramRecipe,
    count_ngrams,
    parse_ngram,
    sizes_of,
)
from clearhead.tasks.language_model.recipe import read_streams
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.events import Counted, Evaluated, Event, Finished
from clearhead.training.job import Job, Progress


@dataclass
class Count:
    """What ``fit`` has found."""

    model: Ngram | None = None
    step: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NgramJob(Job):
    """See ``Job``."""

    recipe: NgramRecipe
    tokenizer: Tokenizer
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
        model = count_ngrams(self.recipe, self.train, self.tokenizer.vocab_size)
        counted = time.perf_counter()
        if should_stop():
            yield Finished(0, "interrupted")
            return
        model.save(run / FILE)
        yield Counted(1, len(self.train), counted - started)
        began = time.perf_counter()
        loss = NgramLanguageModel(self.recipe, self.tokenizer, model).total_loss(self.valid) / len(self.valid)
        done, ended = self.count, time.perf_counter()
        done.model, done.step, done.seconds, done.scores = model, 1, ended - started, {"loss": loss}
        yield Evaluated(1, done.scores, best=True, seconds=ended - began)
        yield Finished(1, "complete")

    def reports(self) -> dict[str, TextReport]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``."""
        return self.tokenizer.size()

    def headline(self) -> str:
        """See ``Job``."""
        return f"model: {sizes_of(self.recipe.model)}, {self.vocabulary()}"

    def save_text_parts(self, run: Path) -> None:
        """See ``Job``."""
        save_tokenizer(self.tokenizer, run)

    def save(self, run: Path) -> None:
        """See ``Job``.

        Raises:
            UsageError: the run is complete.
        """
        if (run / FILE).exists():
            raise UsageError(f"--resume: run {str(run)!r} is complete, an n-gram model is counted in one pass")
        super().save(run)

    def card(self, run: Path) -> str:
        """See ``Job``."""
        return self.card_text(
            run,
            what="A language model",
            sizes=sizes_of(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.tokenizer.vocab_size:,} pieces",
            commands=['generate {} "..."', "evaluate {} --data DIR --split valid"],
        )


def prepare_ngram(
    tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = lambda done, total: None
) -> NgramJob:
    """Reads the documents, trains a tokenizer and encodes; arguments as in ``prepare_language_model``."""
    recipe = parse_ngram(tree, source)
    known = load_tokenizer(run) if run else None
    read = read_streams(data, recipe.data, tokenizer=recipe.tokenizer, known=known, progress=progress)
    return NgramJob(recipe, *read)
