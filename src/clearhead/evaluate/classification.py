"""Scores of classifiers and of predicted numbers, in numpy; the confusion matrix as text and as a picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from clearhead.brief import Brief
from clearhead.drawing.fonts import fonts_for, spelled
from clearhead.errors import UsageError
from clearhead.evaluate.correlation import correlation, ranks
from clearhead.files import write_output

COLUMNS = "precision  recall  F1      lines"
BINS = 15  # number of bins of the expected calibration error, as in Guo et al. 2017


@dataclass(frozen=True)
class ClassScores:
    """How well one class is predicted; a score that would be divided by zero is 0."""

    label: str
    precision: float
    """Share of the lines predicted as this class that are of it."""
    recall: float
    """Share of the lines of this class that are predicted as it."""
    f1: float
    """Harmonic mean of precision and recall."""
    support: int
    """Number of lines of this class."""


@dataclass(frozen=True)
class ClassificationScores(Brief):
    """Scores of one set of predictions; shares are from 0 to 1."""

    lines: int
    accuracy: float
    macro_f1: float
    """Mean F1 over the classes that occur among the labels or the predictions."""
    matthews: float
    """Matthews correlation for many classes (Gorodkin 2004): 1 is perfect, 0 is chance; 0 also if only one class is
    predicted."""
    calibration_error: float
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): mean distance between confidence, the probability
    of the predicted class, and accuracy, over ``bins`` bins of equal width by confidence."""
    bins: int
    brier: float
    """Mean squared distance of probabilities to one-hot labels, summed over classes (Brier 1950): 0 to 2."""
    nll: float
    """Mean negative log-probability of the true class, in nats; a probability of 0 counts as 1e-300."""
    classes: list[ClassScores]
    confusion: list[list[int]]
    """Number of lines by true class (row) and predicted class (column)."""

    def text(self) -> list[str]:
        """Returns the scores as text, line by line, for a terminal."""
        width = max(_width(scores.label) for scores in self.classes)
        text = [
            f"accuracy {self.accuracy:.4f}, macro-F1 {self.macro_f1:.4f}, Matthews {self.matthews:.4f}",
            f"calibration error {self.calibration_error:.4f} ({self.bins} bins), Brier {self.brier:.4f}, "
            f"{self.nll:.4f} nats a line",
            COLUMNS.rjust(width + 2 + len(COLUMNS)),
        ]
        for scores in self.classes:
            shares = f"{scores.precision:.4f}     {scores.recall:.4f}  {scores.f1:.4f}"
            text.append(f"{_pad(scores.label, width)}  {shares}  {scores.support:,}")
        return text


@dataclass(frozen=True)
class RegressionScores:
    """Scores of predicted numbers."""

    lines: int
    pearson: float
    """Linear correlation, -1 to 1; 0 if one side is constant."""
    spearman: float
    """Correlation of the ranks; equal numbers share their mean rank. 0 if one side is constant."""
    mse: float
    """Mean squared error."""


def score_classification(
    probabilities: Float[ndarray, "rows columns"],
    labels: Int[ndarray, " lines"],
    *,
    classes: Sequence[str],
    bins: int = BINS,
) -> ClassificationScores:
    """Scores predicted probabilities; the predicted class is the most probable one, the first of equally probable ones.

    Args:
        probabilities: probability of each class; each line sums to 1.
        labels: number of the true class of each line.
        classes: the labels, in order of their number.
        bins: number of bins of the calibration error.

    Raises:
        UsageError: there are no lines, or the shapes, labels or sums do not fit.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.shape != (len(labels), len(classes)):
        shape = f"{probabilities.shape[0]} by {probabilities.shape[1]}"
        raise UsageError(f"probabilities = {shape}: must be {len(labels)} lines by {len(classes)} classes")
    if not len(labels):
        raise UsageError("labels: there are no lines to score")
    if not 0 <= labels.min() <= labels.max() < len(classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise UsageError(f"labels: {wrong} is not the number of a class, 0 to {len(classes) - 1}")
    worst = float(np.abs(probabilities.sum(axis=1) - 1).max())
    if not (worst < 1e-3 and probabilities.min() >= 0):
        raise UsageError(f"probabilities: must be at least 0 and sum to 1 in each line, one is off by {worst:.3g}")
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_of(labels, predicted, len(classes))
    one_hot = np.eye(len(classes))[labels]
    return ClassificationScores(
        lines=len(labels),
        accuracy=float((predicted == labels).mean()),
        macro_f1=macro_f1(confusion),
        matthews=matthews(confusion),
        calibration_error=_calibration_error(probabilities.max(axis=1), predicted == labels, bins),
        bins=bins,
        brier=float(((probabilities - one_hot) ** 2).sum(axis=1).mean()),
        nll=float(nll_of(probabilities, labels).mean()),
        classes=_classes(confusion, classes),
        confusion=confusion.tolist(),
    )


def score_regression(predictions: Float[ndarray, " predicted"], targets: Float[ndarray, " lines"]) -> RegressionScores:
    """Scores predicted numbers; raises UsageError if there are none, or not as many as targets."""
    if predictions.shape != targets.shape or not len(targets):
        raise UsageError(f"predictions = {len(predictions)} numbers: must be one for each of {len(targets)} targets")
    predictions, targets = predictions.astype(np.float64), targets.astype(np.float64)
    return RegressionScores(
        lines=len(targets),
        pearson=correlation(predictions, targets),
        spearman=correlation(ranks(predictions), ranks(targets)),
        mse=float(((predictions - targets) ** 2).mean()),
    )


def confusion_text(scores: ClassificationScores) -> list[str]:
    """Returns the confusion matrix as lines of text: a row for each true class, a column for each predicted one."""
    names = [class_scores.label for class_scores in scores.classes]
    numbers = [str(number) for number in range(1, len(names) + 1)]
    rows = [[f"{count:,}" for count in row] for row in scores.confusion]
    # columns have numbers for headings, since long names would make the table too wide
    widths = [max(map(len, [number, *column])) for number, *column in zip(numbers, *rows, strict=True)]
    heads = [f"{number:>{len(numbers[-1])}} {name}" for number, name in zip(numbers, names, strict=True)]
    left = max(map(_width, [*heads, "true \\ given"]))
    lines = []
    for head, row in zip(["true \\ given", *heads], [numbers, *rows], strict=True):
        cells = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append(f"{_pad(head, left)}  {'  '.join(cells)}")
    return lines


def draw_confusion(scores: ClassificationScores, picture: Path) -> bool:
    """Draws the confusion matrix as a PNG, coloured by share of the true class; returns False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = [class_scores.label for class_scores in scores.classes]
    counts = np.array(scores.confusion, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    fonts = fonts_for({letter for name in names for letter in name})
    fonts.warn()
    labels = spelled(names, fonts.missing)
    size = 3 + 0.5 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="given", ylabel="true", title=f"accuracy {scores.accuracy:.3f}")
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{int(counts[row, column]):,}", ha="center", va="center", color=color, fontsize=8)
    fonts.dress(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=picture.suffix.removeprefix(".") or "png", dpi=120)
    write_output(picture, drawn.getvalue())
    return True


def confusion_of(
    labels: Int[ndarray, " lines"], predicted: Int[ndarray, " lines"], classes: int
) -> Int[ndarray, "classes classes"]:
    """Returns the number of lines by true class (row) and predicted class (column)."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def nll_of(probabilities: Float[ndarray, "lines classes"], labels: Int[ndarray, " lines"]) -> Float[ndarray, " lines"]:
    """Returns the negative log-probability of each line's true class, in nats; 0 counts as 1e-300."""
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)))


def macro_f1(confusion: Int[ndarray, "classes classes"]) -> float:
    """Returns the mean F1 over the classes that occur among the labels or the predictions."""
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return float(_f1(confusion)[occurs].mean())


def matthews(confusion: Int[ndarray, "classes classes"]) -> float:
    """Returns the Matthews correlation for many classes (Gorodkin 2004); 0 if only one class is predicted."""
    counts = confusion.astype(np.float64)
    predicted, true, lines = counts.sum(axis=0), counts.sum(axis=1), counts.sum()
    covariance = np.trace(counts) * lines - predicted @ true
    spread = (lines**2 - predicted @ predicted) * (lines**2 - true @ true)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def _f1(confusion: Int[ndarray, "classes classes"]) -> Float[ndarray, " classes"]:
    return np.asarray(2 * np.diag(confusion) / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1))


def _classes(confusion: Int[ndarray, "classes classes"], names: Sequence[str]) -> list[ClassScores]:
    right, predicted, true = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(true, 1)
    columns = zip(names, precision.tolist(), recall.tolist(), _f1(confusion).tolist(), true.tolist(), strict=True)
    return [ClassScores(*column) for column in columns]


def _calibration_error(confidence: Float[ndarray, " lines"], right: ndarray, bins: int) -> float:
    # bins are open below and closed above
    where = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(where, weights=confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
