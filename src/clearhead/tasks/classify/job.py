"""The training of a classifier: labelled lines, tokenizer, batches, loss, scores."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from clearhead.data.batching import BatchPlan, largest_batch
from clearhead.data.labels.labelled import read_labelled
from clearhead.data.labels.labelled_batches import LabelledBatch, LabelledBatches, LabelledRows, training_batches
from clearhead.data.labels.labels import Labels
from clearhead.models.bert import BertClassifier
from clearhead.runs.card import CardFacts
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.classify.objective import Objective, class_weights, monitored, predict, score
from clearhead.tasks.classify.recipe import ClassifyRecipe, classifier_sizes, encode, make_ready, train_on_lines
from clearhead.tasks.classify.samples import classified_samples, sampled_rows
from clearhead.training.config import TrainConfig
from clearhead.training.events import SampledLine
from clearhead.training.job import GradientJob, listed
from clearhead.training.length.budget import UNBOUNDED
from clearhead.training.loop import Work


@dataclass(frozen=True)
class ClassifyJob(GradientJob[BertClassifier, LabelledBatch]):
    """See ``GradientJob``."""

    recipe: ClassifyRecipe
    train: LabelledRows
    valid: LabelledRows
    judging = (*GradientJob.judging, "data.overlong")

    @property
    def targets(self) -> str:
        """See ``Job``."""
        return "lines"

    @functools.cached_property
    def settings(self) -> TrainConfig:
        """See ``GradientJob``; ``finetune.epochs`` decides the number of steps, and the steps between evaluations."""
        settings, epochs = self.recipe.train, self.recipe.finetune.epochs
        if not epochs:
            return settings
        steps = epoch = 0
        most = settings.max_steps or UNBOUNDED
        while epoch < epochs and steps < most:
            steps += -(-len(self.dataset(epoch)) // settings.grad_accum_steps)
            epoch += 1
        every = settings.evaluate_every or -(-steps // epoch)
        return replace(settings, max_steps=min(most, steps), evaluate_every=every)

    @property
    def labels(self) -> Labels:
        """The labels that the output layer predicts."""
        assert self.parts.labels is not None
        return self.parts.labels

    @functools.cached_property
    def objective(self) -> Objective:
        """The loss that training minimizes."""
        weights = None
        if self.recipe.loss.class_weights == "balanced":
            weights = class_weights(self.train).to(self.device)
        return Objective.of(self.recipe, self.labels, weights)

    def loss(self, batch: LabelledBatch) -> tuple[Tensor, int]:
        """See ``GradientJob``."""
        return self.objective.loss_of(self.model, batch)

    def evaluate(self, model: BertClassifier) -> Mapping[str, float]:
        """See ``GradientJob``: the whole valid split."""
        predicted = predict(model, self.valid, self.labels, batch_tokens=self.recipe.train.batch_tokens)
        return monitored(score(predicted, self.valid, self.labels), self.labels)

    def sample(self, model: BertClassifier) -> tuple[Sequence[SampledLine], Mapping[str, float]]:
        """See ``GradientJob``: classes, or numbers."""
        if not self.recipe.validation.samples:
            return (), {}
        tokens = self.recipe.train.batch_tokens
        return classified_samples(model, self._sampled, self.labels, self.parts.tokenizer, batch_tokens=tokens)

    @functools.cached_property
    def _sampled(self) -> LabelledRows:
        """The lines that are classified at each evaluation for people to see."""
        return sampled_rows(self.valid, self.recipe.validation.samples, self.recipe.train.seed)

    def where(self, batch: LabelledBatch) -> str:
        """See ``GradientJob``."""
        return listed("labelled lines", (batch.indices + 1).tolist())

    def work(self) -> Work[LabelledBatch]:
        """See ``GradientJob``; layers may be unfrozen step by step, and lines weighted by class."""

        def ready(model: nn.Module, step: int) -> None:
            make_ready(model, step, self.recipe)

        return replace(super().work(), weight_of=self.objective.weight_of, ready=ready)

    @property
    def width(self) -> int:
        """See ``GradientJob``; BPE-dropout cuts a text into more pieces, up to the maximum length."""
        longest = int(self.train.rows.lengths.max())
        return self.recipe.model.max_seq_len if self.recipe.tokenizer.dropout else longest

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        plan = self.dataset(0).plan
        return plan, largest_batch(plan, self.train.rows.lengths)

    def facts(self) -> CardFacts:
        """See ``Job``."""
        texts = "pairs of texts" if self.labels.pairs else "texts"
        what = f"of {len(self.labels.classes)} classes" if self.labels.classes else "that gives a number"
        text = '"..." --pair "..."' if self.labels.pairs else '"..."'
        return CardFacts(
            what=f"A classifier {what}, for {texts}",
            sizes=classifier_sizes(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.parts.tokenizer.vocab_size:,} pieces",
            commands=[f"classify {{}} {text}", "evaluate {} --data DIR --split valid"],
        )

    def dataset(self, epoch: int) -> LabelledBatches:
        """See ``GradientJob``."""
        settings, hidden = self.recipe.train, self.recipe.finetune.word_dropout
        how = {"batch_tokens": settings.batch_tokens, "seed": settings.seed, "epoch": epoch}
        return training_batches(self.train, **how, word_dropout=hidden)


def read_lines(
    data: Path, recipe: ClassifyRecipe, known: TextParts | None
) -> tuple[TextParts, LabelledRows, LabelledRows]:
    """Reads and encodes the labelled lines of both splits, with a tokenizer trained on them unless one is ``known``.

    Raises:
        DataError: the text cannot be used.
    """
    train = read_labelled(data, split="train", config=recipe.data)
    labels = train.made_of
    valid = read_labelled(data, split="valid", config=recipe.data, train=labels)
    if known:
        tokenizer = known.tokenizer.with_dropout(recipe.tokenizer.dropout)
    else:
        tokenizer = train_on_lines(train, recipe.tokenizer)
    encoded = [encode(text, recipe, tokenizer) for text in (train, valid)]
    return TextParts(tokenizer, labels=labels), encoded[0], encoded[1]
