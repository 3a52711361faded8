"""Scores of classifiers and numbers: scikit-learn's and scipy's where they are installed, else counted by hand."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.drawing.fonts import fonts_for
from clearhead.errors import UsageError
from clearhead.evaluate.classification import (
    ClassificationScores,
    confusion_text,
    draw_confusion,
    score_classification,
    score_regression,
)

# ten lines: given by (true), with confidence
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
GIVEN = np.array([0, 0, 1, 2, 1, 1, 0, 2, 2, 2])
CONFIDENCE = np.array([0.9, 0.8, 0.6, 0.6, 0.9, 0.5, 0.6, 1.0, 0.9, 0.8])
CLASSES = ("cat", "dog", "猫头鹰")


def probabilities(given: np.ndarray, confidence: np.ndarray, classes: int = 3) -> np.ndarray:
    """The rest is shared among the other classes."""
    rows = np.repeat(((1 - confidence) / (classes - 1))[:, None], classes, axis=1)
    rows[np.arange(len(given)), given] = confidence
    return rows


def scores(bins: int = 10) -> ClassificationScores:
    return score_classification(probabilities(GIVEN, CONFIDENCE), TRUE, classes=CLASSES, bins=bins)


def test_counted_by_hand() -> None:
    result = scores()
    assert (result.lines, result.accuracy) == (10, 0.7)
    assert result.confusion == [[2, 1, 1], [1, 2, 0], [0, 0, 3]]
    assert [class_scores.label for class_scores in result.classes] == list(CLASSES)
    assert [class_scores.precision for class_scores in result.classes] == pytest.approx([2 / 3, 2 / 3, 3 / 4])
    assert [class_scores.recall for class_scores in result.classes] == pytest.approx([2 / 4, 2 / 3, 1])
    assert [class_scores.f1 for class_scores in result.classes] == pytest.approx([4 / 7, 2 / 3, 6 / 7])
    assert [class_scores.support for class_scores in result.classes] == [4, 3, 3]
    assert result.macro_f1 == pytest.approx((4 / 7 + 2 / 3 + 6 / 7) / 3)
    # covariance 7 * 10 - (3 * 4 + 3 * 3 + 4 * 3) = 37; spreads 100 - (9 + 9 + 16) = 66 and 100 - (16 + 9 + 9) = 66
    assert result.matthews == pytest.approx(37 / 66)


def test_calibration_by_hand() -> None:
    result = scores()
    # bins by confidence: 0.5 one right; 0.6 three wrong; 0.8 two right; 0.9 three right; 1.0 one right
    gaps = [abs(0.5 - 1), abs(1.8 - 0), abs(1.6 - 2), abs(2.7 - 3), 0]
    assert result.calibration_error == pytest.approx(sum(gaps) / 10)
    assert scores(bins=1).calibration_error == pytest.approx(abs(CONFIDENCE.sum() - 7) / 10)
    assert result.bins == 10
    border = probabilities(np.array([0, 0]), np.array([0.5, 0.4]))
    assert score_classification(border, np.array([1, 0]), classes=CLASSES, bins=2).calibration_error == pytest.approx(
        abs(0.9 - 1) / 2
    ), "0.5 is in the lower bin"
    right = [0.9, 0.8, 0.2, 0.2, 0.9, 0.5, 0.2, 1.0, 0.9, 0.8]
    assert result.nll == pytest.approx(-sum(map(math.log, right)) / 10)
    # right with p: (1 - p)^2 + 2 ((1 - p) / 2)^2; wrong with p: p^2 + (1 - (1 - p) / 2)^2 + ((1 - p) / 2)^2
    squares = [(1 - p) ** 2 * 1.5 for p in (0.9, 0.8, 0.9, 0.5, 1.0, 0.9, 0.8)]
    squares += [0.36 + 0.64 + 0.04] * 3
    assert result.brier == pytest.approx(sum(squares) / 10)


def test_two_classes_give_the_usual_matthews() -> None:
    true, given = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0])
    result = score_classification(probabilities(given, np.full(7, 0.9), 2), true, classes=("n", "y"))
    tp, tn, fp, fn = 2, 3, 1, 1
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert result.matthews == pytest.approx(expected)


def test_the_best_the_worst_and_what_is_missing() -> None:
    best = score_classification(np.eye(4)[[0, 1, 2, 2]], np.array([0, 1, 2, 2]), classes="abcd")
    assert (best.accuracy, best.macro_f1, best.matthews, best.calibration_error, best.nll) == (1, 1, 1, 0, 0)
    assert (best.classes[3].f1, best.classes[3].support) == (0, 0), "no line is of it: not in the mean"
    always = score_classification(np.eye(2)[[0, 0, 0]], np.array([0, 0, 1]), classes="ab")
    assert (always.matthews, always.classes[1].precision, always.macro_f1) == (0, 0, pytest.approx(0.4))
    assert always.nll == pytest.approx(300 * math.log(10) / 3)
    assert always.brier == pytest.approx(2 / 3)


cases = st.integers(2, 5).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2, st.floats(0.51, 1)), min_size=2, max_size=40),
    )
)


@settings(deadline=None)  # the first case imports scikit-learn
@given(case=cases)
def test_as_scikit_learn(case: tuple[int, list[tuple[int, int, float]]]) -> None:
    metrics: Any = pytest.importorskip("sklearn.metrics")
    classes, rows = case
    true, given, confidence = (np.array(column) for column in zip(*rows, strict=True))
    chances = probabilities(given, confidence, classes)
    result = score_classification(chances, true, classes="abcde"[:classes])
    assert result.accuracy == pytest.approx(metrics.accuracy_score(true, given))
    assert result.macro_f1 == pytest.approx(metrics.f1_score(true, given, average="macro", zero_division=0))
    with warnings.catch_warnings():  # one class alone makes it warn; its 0 is what is meant
        warnings.simplefilter("ignore", UserWarning)
        assert result.matthews == pytest.approx(metrics.matthews_corrcoef(true, given), abs=1e-9)
    assert result.confusion == metrics.confusion_matrix(true, given, labels=range(classes)).tolist()


def test_what_does_not_fit_is_one_line() -> None:
    good, labels = probabilities(GIVEN, CONFIDENCE), TRUE
    for change, words in [
        ({"probabilities": good[:5]}, r"^probabilities = 5 by 3: must be 10 lines by 3 classes$"),
        (
            {"probabilities": good * 2},
            r"^probabilities: must be at least 0 and sum to 1 in each line, one is off by 1$",
        ),
        ({"probabilities": good * np.nan}, r"sum to 1 in each line, one is off by nan$"),
        ({"labels": labels + 1}, r"^labels: 3 is not the number of a class, 0 to 2$"),
        ({"labels": labels - 1}, r"^labels: -1 is not the number of a class, 0 to 2$"),
        ({"probabilities": good[:0], "labels": labels[:0]}, r"^labels: there are no lines to score$"),
    ]:
        arguments: Any = {"probabilities": good, "labels": labels, **change}
        with pytest.raises(UsageError, match=words):
            score_classification(arguments["probabilities"], arguments["labels"], classes=CLASSES)


def test_numbers_by_hand() -> None:
    predictions, targets = np.array([1.0, 2.0, 2.0, 10.0]), np.array([1.0, 3.0, 2.0, 4.0])
    result = score_regression(predictions, targets)
    assert result.mse == pytest.approx((0 + 1 + 0 + 36) / 4)
    # deviations -2.75, -1.75, -1.75, 6.25 and -1.5, 0.5, -0.5, 1.5: products 13.5, squares 52.75 and 5
    assert result.pearson == pytest.approx(13.5 / math.sqrt(52.75 * 5))
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: products 4.5, squares 4.5 and 5
    assert result.spearman == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert result.pearson == pytest.approx(np.corrcoef(predictions, targets)[0, 1])
    assert score_regression(predictions**3, predictions).spearman == pytest.approx(1)
    assert score_regression(-predictions, predictions).pearson == pytest.approx(-1)
    constant = score_regression(np.full(3, 0.1), np.array([0.1, 0.2, 0.3]))
    assert (constant.pearson, constant.spearman) == (0, 0)
    for count in (0, 3):
        with pytest.raises(UsageError, match=rf"^predictions = {count} numbers: must be one for each of {count and 4}"):
            score_regression(predictions[:count], targets[: count and 4])


def test_text() -> None:
    assert scores().text() == [
        "accuracy 0.7000, macro-F1 0.6984, Matthews 0.5606",
        "calibration error 0.3000 (10 bins), Brier 0.3660, 0.6284 nats a line",
        "        precision  recall  F1      lines",
        "cat     0.6667     0.5000  0.5714  4",
        "dog     0.6667     0.6667  0.6667  3",
        "猫头鹰  0.7500     1.0000  0.8571  3",
    ]
    assert confusion_text(scores()) == [
        "true \\ given  1  2  3",
        "1 cat         2  1  1",
        "2 dog         1  2  0",
        "3 猫头鹰      0  0  3",
    ]


def test_columns_are_as_wide_as_their_numbers() -> None:
    true = np.repeat(np.arange(12), 1000)
    result = score_classification(np.eye(12)[true], true, classes=[f"class {i}" for i in range(12)])
    lines = confusion_text(result)
    assert lines[1].startswith(" 1 class 0    1,000  ")
    assert len(set(map(len, lines))) == 1


def test_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    assert draw_confusion(scores(), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert not draw_confusion(scores(), tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


@pytest.mark.parametrize("has_font", [True, False])
def test_classes_have_their_names_in_the_picture_or_their_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_font: bool, caplog: pytest.LogCaptureFixture
) -> None:
    font_manager = pytest.importorskip("matplotlib.font_manager")
    from matplotlib.axes import Axes

    if not has_font:
        own = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
        monkeypatch.setattr(font_manager, "findSystemFonts", list)
    elif fonts_for("体育财经").missing:
        pytest.skip("no Chinese font is installed")
    shown = list[list[str]]()
    monkeypatch.setattr(Axes, "set_yticks", lambda axes, places, labels: shown.append(labels))
    result = score_classification(np.eye(2), np.arange(2), classes=["体育", "财经"])
    assert draw_confusion(result, tmp_path / "confusion.png")
    assert shown == [["体育", "财经"] if has_font else ["\\u4f53\\u80b2", "\\u8d22\\u7ecf"]]
    assert len(caplog.messages) == (not has_font)
