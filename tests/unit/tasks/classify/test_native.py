"""Classes by the native engine are those by PyTorch, of texts and of pairs; a text never depends on its company."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.tasks.classify.classifier import Classifier
from tests.native import NATIVE
from tests.toy import labelled_lines

pytestmark = NATIVE


def loaded(run: Path) -> tuple[Classifier, Classifier]:
    both = [Classifier.load(run, device="cpu", engine=engine) for engine in ("torch", "native")]  # type: ignore[call-overload]
    assert [isinstance(model.reader, NativeModel) for model in both] == [False, True]
    return both[0], both[1]


def texts() -> list[str]:
    return [line.split("\t")[1] for line in labelled_lines(120)]


def same(expected: Any, found: Any, tolerance: float) -> None:
    assert [one.label for one in found] == [one.label for one in expected]
    for one, other in zip(expected, found, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=tolerance)
        assert other.dropped == one.dropped


def test_texts(toy_classifier: Path) -> None:
    by_torch, by_engine = loaded(toy_classifier)
    given = [*texts(), "great " * 30]
    same(by_torch.classify(given), by_engine.classify(given), 1e-5)
    assert by_engine.classify(given[:9]) == [by_engine.classify(text) for text in given[:9]]


def test_pairs(toy_pair_classifier: Path) -> None:
    by_torch, by_engine = loaded(toy_pair_classifier)
    given = [(text, other) for text, other in zip(texts(), reversed(texts()), strict=True)]
    same(by_torch.classify(given), by_engine.classify(given), 1e-5)


def test_scores_of_a_split(toy_classifier: Path, labelled: Path) -> None:
    both = [model.evaluate(labelled, "valid") for model in loaded(toy_classifier)]
    assert both[1].loss == pytest.approx(both[0].loss, abs=1e-5)
    assert both[1].scores.text() == both[0].scores.text()  # type: ignore[union-attr]


def test_int8(toy_classifier: Path) -> None:
    by_torch, _ = loaded(toy_classifier)
    model = Classifier.load(toy_classifier, device="cpu", weights="int8")
    same(by_torch.classify(texts()), model.classify(texts()), 0.05)
    assert model.classify(texts()[:9]) == [model.classify(text) for text in texts()[:9]]
