"""The loss of a classifier, its predictions for lines, and their scores."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from clearhead.data.labels.labelled_batches import LabelledBatch, LabelledRows, evaluation_batches
from clearhead.data.labels.labels import Labels
from clearhead.data.loading import load
from clearhead.evaluate.classification import (
    ClassificationScores,
    RegressionScores,
    score_classification,
    score_regression,
)
from clearhead.loss import between_passes, cross_entropy, passes_of, repeated, squared_error, weighted_cross_entropy
from clearhead.tasks.classify.native import values_of
from clearhead.tasks.classify.recipe import ClassifyRecipe

Scores = ClassificationScores | RegressionScores


@dataclass(frozen=True)
class Objective:
    """The loss of a batch."""

    labels: Labels
    label_smoothing: float = 0.0
    class_weights: Float[Tensor, " classes"] | None = None
    consistency: float = 0.0
    ngrams: bool = False
    """Whether the model has n-grams beside its encoder, which learn apart: by one loss for both together, neither would
    learn what the other knows of the training lines already."""

    @classmethod
    def of(
        cls, recipe: ClassifyRecipe, labels: Labels, class_weights: Float[Tensor, " classes"] | None = None
    ) -> "Objective":
        """Returns the loss that a recipe asks for; the weights of classes follow from the text."""
        loss, ngrams = recipe.loss, recipe.finetune.ngrams > 0
        return cls(labels, loss.label_smoothing, class_weights, loss.consistency, ngrams)

    def loss_of(self, model: nn.Module, batch: LabelledBatch) -> tuple[Tensor, int]:
        """Returns (sum over lines, number of lines); numbers are standardized by their mean and deviation."""
        passes = passes_of(model, self.consistency)
        ids, mask, segments, labels = repeated(passes, batch.ids, batch.mask, batch.segments, batch.labels)
        if not (self.ngrams and model.training):
            return self._of(model(ids, mask=mask, segments=segments), labels, passes), batch.target_count
        encoder, ngrams = model(ids, mask=mask, segments=segments, apart=True).chunk(2)
        total = (self._of(encoder, labels, passes) + self._of(ngrams, labels, passes)) / 2
        return total, batch.target_count

    def _of(self, out: Float[Tensor, "rows columns"], labels: Tensor, passes: int) -> Float[Tensor, ""]:
        """Returns the loss of one part of the model, with the difference between passes where there are two."""
        total = self._of_rows(out, labels)
        if passes == 1:
            return total
        if self.labels.classes:
            return total / passes + between_passes(out, self.consistency)
        first, second = out[:, 0].chunk(2)  # as means of normal distributions whose variance is 1
        return total / passes + self.consistency / 4 * squared_error(first, second)[0]

    def _of_rows(self, out: Float[Tensor, "rows columns"], labels: Tensor) -> Float[Tensor, ""]:
        settings = {"label_smoothing": self.label_smoothing}
        if not self.labels.classes:
            total, _ = squared_error(out[:, 0], (labels - self.labels.mean) / self.labels.deviation)
        elif self.class_weights is None:
            total, _ = cross_entropy(out, labels, **settings)
        else:
            total, _ = weighted_cross_entropy(out, labels, self.class_weights, **settings)
        return total

    def weight_of(self, batch: LabelledBatch) -> float:
        """Returns the divisor of the sum: the number of lines, or the sum of their weights."""
        weights = self.class_weights
        return float(batch.target_count if weights is None else weights[batch.labels].sum())


def class_weights(source: LabelledRows) -> Float[Tensor, " classes"]:
    """Returns the weight of each class by which all classes count alike; the mean over lines is 1."""
    counts = np.bincount(source.labels, minlength=len(source.classes))
    return torch.tensor(len(source.labels) / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32)


@torch.inference_mode()
def predict(
    model: nn.Module, source: LabelledRows, labels: Labels, *, batch_tokens: int
) -> Float[ndarray, "rows columns"]:
    """Returns for each line the probability of each class, or the number."""
    device = next(model.parameters()).device
    predicted = np.zeros((len(source.rows), len(labels.classes) or 1))
    for batch in load(evaluation_batches(source, batch_tokens=batch_tokens)):
        on_device = batch.to(device)
        out = model(on_device.ids, mask=on_device.mask, segments=on_device.segments)
        predicted[batch.indices.numpy()] = values_of(out.float().cpu().numpy(), labels)
    return predicted


def score(predicted: Float[ndarray, "rows columns"], source: LabelledRows, labels: Labels) -> Scores:
    """Scores the predictions of ``predict``."""
    if labels.classes:
        return score_classification(predicted, source.labels, classes=labels.classes)
    return score_regression(predicted[:, 0], source.labels)


def monitored(scores: Scores, labels: Labels) -> dict[str, float]:
    """Returns the scores that ``validation.monitor`` may name; the loss is without smoothing and class weights."""
    if isinstance(scores, ClassificationScores):
        kept = ("accuracy", "macro_f1", "matthews")
        return {"loss": scores.nll, **{name: getattr(scores, name) for name in kept}}
    loss = scores.mse / labels.deviation**2
    return {"loss": loss, **{name: getattr(scores, name) for name in ("mse", "pearson", "spearman")}}
