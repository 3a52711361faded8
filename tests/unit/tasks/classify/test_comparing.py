"""Classifiers side by side: the scores of ``evaluate``, and lines that count the same whatever the order of classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.comparing import compare_classifier
from clearhead.tasks.classify.objective import monitored


def test_classes_are_counted_by_name(toy_classifier: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Classifier.load(toy_classifier, device="cpu")
    found = compare_classifier(trained, labelled, "valid")
    assert found.scores == monitored(trained.evaluate(labelled, "valid").scores, trained.labels)
    for name, (metric, counts) in found.counts.items():
        assert metric.score(counts) == pytest.approx(found.scores[name])
    assert list(found.counts) == list(found.scores)

    labels = replace(trained.labels, classes=trained.labels.classes[::-1])
    turned = replace(trained, labels=labels)
    predict = type(turned)._predict
    monkeypatch.setattr(type(turned), "_predict", lambda self, rows: predict(self, rows)[:, ::-1])
    other = compare_classifier(turned, labelled, "valid")
    for name, (metric, counts) in other.counts.items():
        assert metric.is_like(found.counts[name][0])
        np.testing.assert_allclose(counts, found.counts[name][1])
