"""The training of a translator: two text files, tokenizers, encoded pairs, batches, scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from clearhead.data.batching import BatchPlan, largest_batch, plan_batches
from clearhead.data.corpora.joined import EncodedPairs, JoinedPairs
from clearhead.data.store import PairStore
from clearhead.data.translation import Batch, BatchDataset
from clearhead.runs.card import CardFacts
from clearhead.tasks.translation.corpora.reading import ValidPairs, ValidPart
from clearhead.tasks.translation.pairs_report import PairsReport
from clearhead.tasks.translation.recipe import (
    Net,
    TranslationRecipe,
    mean_loss,
    translation_loss,
    translator_sizes,
)
from clearhead.tasks.translation.samples import translation_samples
from clearhead.tasks.translation.scoring import greedy_bleu
from clearhead.training.events import SampledLine
from clearhead.training.job import GradientJob, Report, listed


@dataclass(frozen=True)
class TranslationJob(GradientJob[Net, Batch]):
    """See ``GradientJob``."""

    recipe: TranslationRecipe
    train: EncodedPairs
    valid: ValidPairs
    judging = (
        *GradientJob.judging,
        *("tgt", "data.max_len", "data.overlong", "validation.max_sentences", "validation.tokenize"),
    )

    def _judged_on(self) -> dict[str, Any]:
        """See ``GradientJob``: of several corpora also which are judged by."""
        corpora = self.recipe.data.corpora
        judged = ", ".join(corpus.label for corpus in corpora if corpus.judged)
        return {**super()._judged_on(), **({"the corpora that are judged by": judged} if corpora else {})}

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """See ``GradientJob``."""
        return translation_loss(self.model, batch, self.recipe.loss)

    def evaluate(self, model: Net) -> Mapping[str, float]:
        """See ``GradientJob``; BLEU is of greedy translations, where the run is judged by it.

        Of several corpora the scores are means, over those that are judged by, and each has its own beside them.
        """
        each = [(part.corpus, self._scores(model, part)) for part in self.valid.parts]
        if len(each) == 1:
            return each[0][1]
        judged = [scores for corpus, scores in each if corpus.judged]
        means = {name: sum(scores[name] for scores in judged) / len(judged) for name in judged[0]}
        return means | {f"{name}/{corpus.label}": score for corpus, own in each for name, score in own.items()}

    def _scores(self, model: Net, part: ValidPart) -> dict[str, float]:
        """Returns the scores on one corpus."""
        recipe = self.recipe
        loss = mean_loss(model, part.store, batch_tokens=recipe.train.batch_tokens, device=self.device)
        if recipe.validation.monitor != "bleu":
            return {"loss": loss}
        lengths, way = self._train_report.limit, (part.corpus.src, part.corpus.tgt)
        options: dict[str, Any] = {"device": self.device, "lengths": lengths, "way": way}
        return {"loss": loss, "bleu": greedy_bleu(recipe, self.parts.both, model, part.lines, **options)}

    def decided(self) -> list[str]:
        """See ``Job``: names the corpora without a validation split too."""
        scored = [part.corpus.label for part in self.valid.parts]
        others = ", ".join(repr(each.label) for each in self.recipe.data.corpora if each.label not in scored)
        unscored = f"trained on and not scored, as it has no validation split: {others}"
        return [*super().decided(), *([unscored] if others else [])]

    def sample(self, model: Net) -> tuple[Sequence[SampledLine], Mapping[str, float]]:
        """See ``GradientJob``: greedy translations, with chrF2; of several corpora in turn."""
        options: dict[str, Any] = {"device": self.device, "lengths": self._train_report.limit}
        return translation_samples(self.recipe, self.parts.both, model, self.valid.parts, **options)

    def reports(self) -> Mapping[str, Report]:
        """See ``Job``; that on the training text says how long translations may be."""
        return {**super().reports(), "train": self._train_report}

    @cached_property
    def _train_report(self) -> PairsReport:
        return PairsReport.of(self.train.report, self.train.line_lengths, self.recipe.model.max_seq_len)

    def where(self, batch: Batch) -> str:
        """See ``GradientJob``."""
        indices = batch.indices.cpu().numpy()
        if isinstance(self.train, PairStore):
            return listed("lines", self.train.line_numbers[indices].tolist())
        return ", ".join(
            f"{name}: {listed('lines', lines)}" for name, lines in self.train.where(indices.tolist()).items()
        )

    def vocabulary(self) -> str:
        """See ``GradientJob``."""
        src, tgt = self.parts.both.src, self.parts.both.tgt
        size = f"{src.vocab_size:,} + {tgt.vocab_size:,} pieces"
        if src is tgt:
            several = len(self.recipe.directions) > 1
            whole = f"{src.vocab_size:,} pieces for all languages"
            size = whole if several else f"{src.vocab_size:,} pieces for both languages"
        return f"{size}, {self.taken.line()}" if self.taken else size

    @property
    def width(self) -> int:
        """See ``GradientJob``; BPE-dropout cuts into more pieces, up to the longest that is allowed."""
        most = self.recipe.data.max_len + self.recipe.leads
        return (most if self.recipe.tokenizer.dropout else int(np.maximum(*self.train.lengths).max())) + 1

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        plan = self._plan(0)
        return plan, largest_batch(plan, np.maximum(*self.train.lengths))

    def facts(self) -> CardFacts:
        """See ``Job``."""
        recipe, both = self.recipe, self.parts.both
        sizes = (both.src.vocab_size, both.tgt.vocab_size)
        way = f" --to {recipe.directions[0][1]}" if len(recipe.directions) > 1 else ""
        translate = f'translate {{}}{way} "..."'
        pairs = ", ".join(f"`{src}` to `{tgt}`" for src, tgt in recipe.directions)
        return CardFacts(
            what=f"A translation model from {pairs}",
            sizes=translator_sizes(recipe.model),
            vocabulary=f"{recipe.tokenizer.kind}, {sizes[0]:,} source and {sizes[1]:,} target pieces",
            commands=[translate, "evaluate {} --data DIR --split valid", 'trace {} "..."'],
        )

    def dataset(self, epoch: int) -> BatchDataset:
        """See ``GradientJob``."""
        dropout = (self.parts.both.src, self.parts.both.tgt) if self.recipe.tokenizer.dropout else None
        return BatchDataset(self.train, self._plan(epoch), dropout, self.recipe.data.max_len)

    def _plan(self, epoch: int) -> BatchPlan:
        settings = self.recipe.train
        rows = self.train.rows(settings.seed, epoch) if isinstance(self.train, JoinedPairs) else None
        options: dict[str, Any] = {"batch_tokens": settings.batch_tokens, "seed": settings.seed, "epoch": epoch}
        return plan_batches(*self.train.lengths, **options, rows=rows)
