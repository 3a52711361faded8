"""Classifiers side by side: their scores on a split, and what each line counts for."""

from pathlib import Path

import numpy as np

from clearhead.evaluate.paired import Counts, Metric
from clearhead.evaluate.predicted import OF_NUMBERS, ClassScore, NumberScore
from clearhead.tasks.classify.classifier import Classifier, labelled_rows, timed_predictions
from clearhead.tasks.classify.objective import monitored, score
from clearhead.tasks.family import ComparedScores


def compare_classifier(trained: Classifier, data: Path, split: str) -> ComparedScores:
    """Scores a split as ``evaluate`` does; classes are counted by name, since each run has an order of its own.

    Raises:
        DataError: the lines cannot be used.
        UsageError: there is no such split.
    """
    source, labels = labelled_rows(trained, data, split), trained.labels
    predicted, _ = timed_predictions(trained, source)
    scores = monitored(score(predicted, source, labels), labels)
    counts: dict[str, tuple[Metric, Counts]]
    if labels.classes:
        names = sorted(labels.classes)
        order = np.array([labels.classes.index(name) for name in names])
        each = ClassScore.counts(predicted[:, order], np.argsort(order)[source.labels])
        counts = {name: (ClassScore(name, names), each) for name in scores}
    else:
        each = np.column_stack([source.labels, predicted[:, 0]]).astype(np.float64)
        counts = {name: (NumberScore(name), each) for name in scores if name in OF_NUMBERS}
    return ComparedScores({**scores}, None, counts)
