"""An n-gram language model as a task: its recipe, and a run of it, loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from clearhead.arguments import checked
from clearhead.config import Tree, parse
from clearhead.data.documents import DocumentsConfig
from clearhead.data.stream import TokenStream
from clearhead.decode.rows import NgramRowsDecoding, TextRows
from clearhead.models.ngram import Ngram, NgramConfig
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_text_parts
from clearhead.tasks.family import open_for
from clearhead.tasks.gradient_recipe import check_encoded_once
from clearhead.tasks.language_model.stepped import SteppedModel
from clearhead.tasks.language_model.writer import has_marks
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

FILE = "ngram.npz"
NGRAM_WORDS = ("ngram",)


@dataclass(frozen=True)
class NgramRecipe:
    """All that the counting of an n-gram model follows."""

    task: Literal["ngram"] = "ngram"
    """The task that the model is trained for."""
    name: str = "ngram"
    """Name of the recipe; its run directories are ``runs/NAME-NNN``."""
    about: str = ""
    """What the recipe is for, in one line."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The tokenizer, which cuts text into pieces."""
    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    """The text: which files, and how they are read."""
    model: NgramConfig = field(default_factory=NgramConfig)
    """The longest n-gram, and the smoothing of its counts."""

    def __post_init__(self) -> None:
        check_encoded_once(self.tokenizer)
        self.data.check_single()


def ngram_sizes(config: NgramConfig) -> str:
    """Describes a model in a few words."""
    return f"n-grams of up to {config.order} pieces, {config.smoothing}"


def parse_ngram(tree: Tree, source: str) -> NgramRecipe:
    """Builds the recipe.

    Raises:
        UsageError: a key or value is wrong.
    """
    return parse(NgramRecipe, tree, source=source)


def count_ngrams(recipe: NgramRecipe, stream: TokenStream, vocab_size: int) -> Ngram:
    """Counts a stream; with ``packing`` isolated nothing reaches back across documents."""
    starts = stream.starts if recipe.data.packing == "isolated" else None
    return Ngram.train(stream.ids, recipe.model, vocab_size=vocab_size, starts=starts)


@dataclass(frozen=True)
class NgramLanguageModel(SteppedModel):
    """An n-gram model with its tokenizer, ready to write; see ``load``."""

    recipe: NgramRecipe
    tokenizer: Tokenizer
    model: Ngram
    step: int = 1
    """Passes over the text."""
    marks: bool = True
    """See ``TextModel``."""
    device = torch.device("cpu")
    packing = None
    """It has no weights that the native engine computes with."""

    @property
    def _engine_model(self) -> None:
        """See ``NativeUser``: counts are no weights."""

    @classmethod
    @checked
    def load(cls, run: str | Path) -> "NgramLanguageModel":
        """Loads a run.

        Raises:
            ModelError: not the run of an n-gram model, not counted yet, or damaged.
        """
        return cls.from_run(open_for(NGRAM_WORDS, run, checkpoint="best"))

    @classmethod
    def from_run(cls, run: SavedRun) -> "NgramLanguageModel":
        """Loads a run that is open; see ``load``."""
        recipe, tokenizer = parse_ngram(run.tree, run.source), load_text_parts(run.path).tokenizer
        return cls(recipe, tokenizer, Ngram.load(run.path / FILE), marks=has_marks(run.path))

    @property
    def context(self) -> None:
        """See ``TextModel``: a prediction looks back on few pieces, but of a text of any length."""

    def begin(self, prompts: Sequence[Sequence[int]]) -> TextRows:
        """See ``TextModel``."""
        return NgramRowsDecoding(self.model, prompts)

    @checked
    def log_probs(self, text: str) -> list[float]:
        """See ``TextModel``."""
        ids = np.array([self.tokenizer.ids.eos, *self.tokenizer.encode(text)])
        scored: list[float] = self.model.log_probs(ids)[1:].tolist()
        return scored

    def total_loss(self, stream: TokenStream) -> float:
        """Negative log-likelihood of a whole split in nats; documents as in ``count_ngrams``."""
        starts = stream.starts if self.recipe.data.packing == "isolated" else None
        return -float(self.model.log_probs(stream.ids, starts).sum())
