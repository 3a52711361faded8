"""Scores of classes or numbers that a model predicts, from what each line counts for."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from clearhead.evaluate.classification import confusion_of, macro_f1, matthews, nll_of
from clearhead.evaluate.correlation import correlation, ranks
from clearhead.evaluate.paired import Counts, Metric

Confusion = Int[ndarray, "classes classes"]
OF_CONFUSION: Mapping[str, Callable[[Confusion], float]] = {
    "accuracy": lambda confusion: float(np.trace(confusion) / confusion.sum()),
    "macro_f1": macro_f1,
    "matthews": matthews,
}
OF_NUMBERS: Mapping[str, Callable[[Float[ndarray, " lines"], Float[ndarray, " lines"]], float]] = {
    "mse": lambda targets, predicted: float(((targets - predicted) ** 2).mean()),
    "pearson": lambda targets, predicted: correlation(predicted, targets),
    "spearman": lambda targets, predicted: correlation(ranks(predicted), ranks(targets)),
}


class ClassScore(Metric):
    """A score of predicted classes; a line counts its class, the one predicted, and the loss of its own in nats."""

    unit, most_loss = "points", 0.005

    def __init__(self, name: str, classes: Sequence[str]) -> None:
        """``name``: loss, or a key of ``OF_CONFUSION``; ``classes``: in the order of their numbers."""
        self.name, self.classes = name, list(classes)

    @staticmethod
    def counts(probabilities: Float[ndarray, "lines classes"], labels: Int[ndarray, " lines"]) -> Counts:
        """Returns what each line counts for."""
        return np.column_stack([labels, probabilities.argmax(axis=1), nll_of(probabilities, labels)]).astype(np.float64)

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        if self.name == "loss":
            return float(counts[:, 2].mean())
        labels, predicted = counts[:, :2].astype(np.int64).T
        return OF_CONFUSION[self.name](confusion_of(labels, predicted, len(self.classes)))

    def is_like(self, other: Metric) -> bool:
        """See ``Metric``."""
        return super().is_like(other) and isinstance(other, ClassScore) and self.classes == other.classes


class NumberScore(Metric):
    """A score of predicted numbers; a line counts its number and the one predicted."""

    unit, most_loss = "points", 0.005

    def __init__(self, name: str) -> None:
        """``name``: a key of ``OF_NUMBERS``."""
        self.name = name

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        return OF_NUMBERS[self.name](*counts.T)
