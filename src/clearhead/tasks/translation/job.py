"""The training of a translator: two text files, tokenizers, encoded pairs, batches, scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from clearhead.data.batching import BatchPlan, largest_batch, plan_batches
from clearhead.data.corpus import CorpusReport, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.data.translation import Batch, BatchDataset
from clearhead.progress import Progress
from clearhead.runs.cache import cache_folder
from clearhead.runs.card import CardFacts
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.translation.pairs_report import PairsReport
from clearhead.tasks.translation.recipe import (
    Net,
    TranslationRecipe,
    mean_loss,
    train_tokenizers,
    translation_loss,
    translator_sizes,
)
from clearhead.tasks.translation.scoring import greedy_bleu, read_lines, scored_pairs
from clearhead.text.language import read_language
from clearhead.training.job import GradientJob, Report, listed


@dataclass(frozen=True)
class ValidPairs:
    """The valid split: encoded for the loss, and as text for BLEU."""

    store: PairStore
    lines: list[tuple[str, str]]
    """Sources and references as they are in the files; empty unless the run is judged by BLEU."""

    @property
    def report(self) -> CorpusReport:
        """What became of the lines that the loss is over."""
        return self.store.report


@dataclass(frozen=True)
class TranslationJob(GradientJob[Net, Batch]):
    """See ``GradientJob``."""

    recipe: TranslationRecipe
    train: PairStore
    valid: ValidPairs
    judging = (
        *GradientJob.judging,
        *("tgt", "data.max_len", "data.overlong", "validation.max_sentences", "validation.tokenize"),
    )

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """See ``GradientJob``."""
        return translation_loss(self.model, batch, self.recipe.loss)

    def evaluate(self, model: Net) -> Mapping[str, float]:
        """See ``GradientJob``; BLEU is of greedy translations, where the run is judged by it."""
        recipe = self.recipe
        loss = mean_loss(model, self.valid.store, batch_tokens=recipe.train.batch_tokens, device=self.device)
        if recipe.validation.monitor != "bleu":
            return {"loss": loss}
        lengths, lines = self._train_report.limit, self.valid.lines
        bleu = greedy_bleu(recipe, self.parts.both, model, lines, device=self.device, lengths=lengths)
        return {"loss": loss, "bleu": bleu}

    def reports(self) -> Mapping[str, Report]:
        """See ``Job``; that on the training text says how long translations may be."""
        return {**super().reports(), "train": self._train_report}

    @cached_property
    def _train_report(self) -> PairsReport:
        return PairsReport.of(self.train.report, self.train.lengths, self.recipe.model.max_seq_len)

    def where(self, batch: Batch) -> str:
        """See ``GradientJob``."""
        return listed("lines", self.train.line_numbers[batch.indices.cpu().numpy()].tolist())

    def vocabulary(self) -> str:
        """See ``Job``."""
        src, tgt = self.parts.both.src, self.parts.both.tgt
        if src is tgt:
            return f"{src.vocab_size:,} pieces for both languages"
        return f"{src.vocab_size:,} + {tgt.vocab_size:,} pieces"

    @property
    def width(self) -> int:
        """See ``GradientJob``; BPE-dropout cuts into more pieces, up to the longest that is allowed."""
        longest = int(np.maximum(*self.train.lengths).max())
        return (self.recipe.data.max_len if self.recipe.tokenizer.dropout else longest) + 1

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        plan = self._plan(0)
        return plan, largest_batch(plan, np.maximum(*self.train.lengths))

    def facts(self) -> CardFacts:
        """See ``Job``."""
        recipe, both = self.recipe, self.parts.both
        sizes = (both.src.vocab_size, both.tgt.vocab_size)
        return CardFacts(
            what=f"A translation model from `{recipe.src}` to `{recipe.tgt}`",
            sizes=translator_sizes(recipe.model),
            vocabulary=f"{recipe.tokenizer.kind}, {sizes[0]:,} source and {sizes[1]:,} target pieces",
            commands=['translate {} "..."', "evaluate {} --data DIR --split valid", 'trace {} "..."'],
        )

    def dataset(self, epoch: int) -> BatchDataset:
        """See ``GradientJob``."""
        dropout = (self.parts.both.src, self.parts.both.tgt) if self.recipe.tokenizer.dropout else None
        return BatchDataset(self.train, self._plan(epoch), dropout, self.recipe.data.max_len)

    def _plan(self, epoch: int) -> BatchPlan:
        settings = self.recipe.train
        return plan_batches(*self.train.lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch)


def read_pairs(
    folder: Path, recipe: TranslationRecipe, known: TextParts | None, progress: Progress
) -> tuple[TextParts, PairStore, ValidPairs]:
    """Reads and encodes the corpus in ``folder``, with tokenizers trained on it unless some are ``known``.

    Raises:
        DataError: the text cannot be used, or a sentence is above the budget of a batch.
    """
    for code in (recipe.src, recipe.tgt):
        read_language(code)  # says now what is assumed of a language that is not known
    train, valid = (
        read_parallel(folder, stem=stem, src=recipe.src, tgt=recipe.tgt)
        for stem in (recipe.data.train, recipe.data.valid)
    )
    scan = train.scan()  # once: a large corpus takes minutes to read
    parts = known or train_tokenizers(train, scan.lines, recipe.tokenizer)
    encode = partial(prepare, src=parts.both.src, tgt=parts.both.tgt, cache_dir=cache_folder() / "data")
    pairs = encode(train, config=recipe.data, scan=scan, keep_text=recipe.tokenizer.dropout > 0, progress=progress)
    store = encode(valid, config=scored_pairs(recipe.data, refuse=True))
    judged_by = recipe.validation
    lines = read_lines(valid, judged_by.max_sentences) if judged_by.monitor == "bleu" else []
    longest = int(np.maximum(*pairs.lengths).argmax())
    plan_batches(
        *(lengths[longest : longest + 1] for lengths in pairs.lengths),
        batch_tokens=recipe.train.batch_tokens,
        seed=0,
        epoch=0,
    )  # a sentence above the budget is an error now, not in the middle of an epoch
    return parts, pairs, ValidPairs(store, lines)
