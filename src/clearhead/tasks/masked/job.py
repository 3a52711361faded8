"""The pretraining of a BERT: documents, tokenizer, sentences, masked batches, loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from torch import Tensor

from clearhead.data.batching import BatchPlan, largest_batch
from clearhead.data.masked import MaskedBatch, MaskedBatches, MaskedText
from clearhead.data.pairs import MaskedConfig
from clearhead.models.bert import BertPretraining
from clearhead.runs.card import CardFacts
from clearhead.tasks.masked.recipe import MaskedRecipe, masked_loss, masked_sizes
from clearhead.tasks.masked.samples import Gapped, gapped_sentences, masked_samples
from clearhead.tasks.masked.scoring import score_batches
from clearhead.training.events import SampledLine
from clearhead.training.job import GradientJob, documents_of


@dataclass(frozen=True)
class MaskedJob(GradientJob[BertPretraining, MaskedBatch]):
    """See ``GradientJob``."""

    recipe: MaskedRecipe
    train: MaskedText
    valid: MaskedText
    judging = (*GradientJob.judging, *(f"masked.{field.name}" for field in fields(MaskedConfig)))

    def loss(self, batch: MaskedBatch) -> tuple[Tensor, int]:
        """See ``GradientJob``."""
        return masked_loss(self.model, batch, self.recipe.loss)

    def evaluate(self, model: BertPretraining) -> Mapping[str, float]:
        """See ``GradientJob``; the same pieces of the whole valid split are masked every time."""
        batches = self.valid.evaluation(batch_tokens=self.recipe.train.batch_tokens)
        return score_batches(model, batches, self.device).as_dict()

    def sample(self, model: BertPretraining) -> tuple[Sequence[SampledLine], Mapping[str, float]]:
        """See ``GradientJob``: gaps, filled."""
        return masked_samples(model, self.parts.tokenizer, self._gapped, self.device)

    @cached_property
    def _gapped(self) -> list[Gapped]:
        """The sentences with gaps that are filled at each evaluation."""
        return gapped_sentences(self.valid, self.recipe.validation.samples, self.settings.seed)

    def where(self, batch: MaskedBatch) -> str:
        """See ``GradientJob``."""
        return documents_of(batch)

    def reports(self) -> dict[str, MaskedText]:
        """See ``Job``."""
        return {"train": self.train, "valid": self.valid}

    @property
    def width(self) -> int:
        """See ``GradientJob``."""
        return self.recipe.row_length

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        rows = self.dataset(0)
        return rows.plan, largest_batch(rows.plan, rows.pairs.lengths)

    def facts(self) -> CardFacts:
        """See ``Job``."""
        return CardFacts(
            what="A masked language model",
            sizes=masked_sizes(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.parts.tokenizer.vocab_size:,} pieces",
            commands=['fill {} "... [MASK] ..."', 'embed {} "..."', "evaluate {} --data DIR --split valid"],
        )

    def dataset(self, epoch: int) -> MaskedBatches:
        """See ``GradientJob``."""
        settings = self.recipe.train
        return self.train.training(batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch)
