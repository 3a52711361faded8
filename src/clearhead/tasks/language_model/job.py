"""The training of a language model: documents, tokenizer, encoded stream, windows, loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from clearhead.data.batching import BatchPlan
from clearhead.data.corpora.texts import TextMixture
from clearhead.data.stream import StreamBatch, TokenStream, Windows, training_windows
from clearhead.runs.card import CardFacts
from clearhead.tasks.language_model.recipe import (
    LanguageModelRecipe,
    Net,
    language_model_loss,
    language_model_sizes,
    total_loss,
)
from clearhead.tasks.language_model.samples import Beginning, beginnings, language_samples
from clearhead.training.events import SampledLine
from clearhead.training.job import GradientJob, Report, documents_of


@dataclass(frozen=True)
class LanguageModelJob(GradientJob[Net, StreamBatch]):
    """See ``GradientJob``."""

    recipe: LanguageModelRecipe
    train: TokenStream
    valid: TokenStream
    judging = (*GradientJob.judging, "data.packing")

    def loss(self, batch: StreamBatch) -> tuple[Tensor, int]:
        """See ``GradientJob``."""
        return language_model_loss(self.model, batch, self.recipe.loss)

    def evaluate(self, model: Net) -> Mapping[str, float]:
        """See ``GradientJob``: the whole valid split in windows that do not overlap."""
        loss = total_loss(
            model,
            self.valid,
            stride=model.config.max_seq_len,
            batch_tokens=self.recipe.train.batch_tokens,
            isolated=self.recipe.data.packing == "isolated",
            device=self.device,
        )
        return {"loss": loss / len(self.valid)}

    def sample(self, model: Net) -> tuple[Sequence[SampledLine], Mapping[str, float]]:
        """See ``GradientJob``: greedy continuations."""
        options: dict[str, Any] = {"device": self.device, "marks": self._marks}
        return language_samples(self.recipe, self.parts.tokenizer, model, self._beginnings, **options), {}

    @cached_property
    def _beginnings(self) -> list[Beginning]:
        """The beginnings of texts that are continued at each evaluation."""
        count, seed = self.recipe.validation.samples, self.settings.seed
        return beginnings(self.valid, self.parts.tokenizer, count, seed) if count else []

    @property
    def _marks(self) -> bool:
        """Whether the model sees where documents begin."""
        return self.parts.tokenizer.begins or bool(self.train.report.end_marks)

    def where(self, batch: StreamBatch) -> str:
        """See ``GradientJob``."""
        return documents_of(batch)

    @property
    def width(self) -> int:
        """See ``GradientJob``."""
        return self.recipe.model.max_seq_len

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``; all batches but the last have as many windows."""
        return self.dataset(0).plan, 0

    def facts(self) -> CardFacts:
        """See ``Job``."""
        return CardFacts(
            what="A language model",
            sizes=language_model_sizes(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.parts.tokenizer.vocab_size:,} pieces",
            commands=['generate {} "..."', "evaluate {} --data DIR --split valid"],
        )

    def reports(self) -> Mapping[str, Report]:
        """See ``Job``; that on several training texts says how much of each an epoch has."""
        return {**super().reports(), **({} if self._mixture is None else {"train": self._mixture})}

    @property
    def _mixture(self) -> TextMixture | None:
        return TextMixture(self.train, self.recipe.data) if self.recipe.data.corpora else None

    def dataset(self, epoch: int) -> Windows:
        """See ``GradientJob``."""
        settings = self.recipe.train
        if (mixture := self._mixture) is not None:
            context, tokens = self.recipe.model.max_seq_len, settings.batch_tokens
            return mixture.windows(context=context, batch_tokens=tokens, seed=settings.seed, epoch=epoch)
        return training_windows(
            self.train,
            context=self.recipe.model.max_seq_len,
            batch_tokens=settings.batch_tokens,
            seed=settings.seed,
            epoch=epoch,
            isolated=self.recipe.data.packing == "isolated",
        )
