"""Confidence: the chrF that translations with such log-probabilities had where there were references; no torch."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clearhead.brief import Brief
from clearhead.errors import ModelError
from clearhead.runs.learned import keep_learned, read_learned
from clearhead.tasks.translation.result import Translation

FILE = "confidence.json"
LEARN = "`clearhead calibrate RUN --data DIR` makes one"
MOST = 1 << 16  # bytes of a calibration
FEATURES = ("mean", "probability", "lowest", "pieces", "ratio")
"""Of a translation: mean log-probability of its pieces, exp of it, the lowest, log of the number of pieces, and log of
that number over the source's."""

Row = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration(Brief):
    """What a translation's log-probabilities say of its chrF, and how well they say it."""

    weights: tuple[float, ...]
    """Of a constant and of ``FEATURES``: their sum is the expected chrF2 of a line, 0 to 100."""
    step: int
    """Training step of the model."""
    beam: int
    """Of the search that it was learned with."""
    length_penalty: float
    """Likewise."""
    split: str
    """The lines that it was learned on."""
    lines: int
    """How many these were."""
    pearson: float
    """Correlation with chrF2 by line, each line predicted without itself."""
    spearman: float
    """The same of the ranks."""
    pearson_of_mean: float
    """Correlation of the mean log-probability alone, for comparison."""
    off: float
    """Ten groups of lines by what was predicted: mean distance of what was predicted from the truth, in points."""

    def rate(self, translation: Translation) -> float | None:
        """Returns the expected chrF2 of a translation, 0 to 100; None of one that has no pieces.

        That of several parts is their mean by pieces.
        """
        rated = [part for part in translation.of_parts or [translation] if part.log_probs]
        if not rated:
            return None
        sizes = [len(part.log_probs) for part in rated]
        values = [float(np.clip(self.weights[0] + features(part) @ self.weights[1:], 0, 100)) for part in rated]
        return math.fsum(size * value for size, value in zip(sizes, values, strict=True)) / sum(sizes)

    def save(self, run: Path) -> None:
        """Writes the calibration of a run in the place of an older one; raises ModelError if that fails."""
        keep_learned(run / FILE, self.content())

    def content(self) -> bytes:
        """Returns the file that ``read_calibration`` reads."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def features(translation: Translation) -> Row:
    """Returns ``FEATURES`` of a translation of one part, which has pieces."""
    values, count = translation.log_probs, len(translation.log_probs)
    mean = math.fsum(values) / count
    ratio = count / max(len(translation.source_pieces) - translation.before, 1)
    return np.array([mean, math.exp(mean), min(values), math.log(count), math.log(ratio)])


Calibrated = Calibration | ModelError | None
"""What there is of a model: its calibration; why that cannot be used, for whoever asks for it; or none."""


def read_calibration(run: Path) -> Calibrated:
    """Reads the calibration of a run, which translates without it too."""
    try:
        content = read_learned(run / FILE, MOST)
    except ModelError as error:
        return error
    return None if content is None else calibration_in(content, run / FILE)


def calibration_in(content: bytes, path: Path) -> Calibrated:
    """Returns the calibration that ``content`` of ``path`` holds."""
    try:
        return restored(content, path)
    except ModelError as error:
        return error


def restored(content: bytes, path: Path) -> Calibration:
    """Returns the calibration that ``content`` of ``path`` holds; raises ModelError if it is none."""
    try:
        tree = json.loads(content)
        if not isinstance(tree, dict) or set(tree) != {field.name for field in fields(Calibration)}:
            raise ValueError("its keys are others")
        made = Calibration(**{**tree, "weights": tuple(tree["weights"])})
        numbers = [getattr(made, field.name) for field in fields(made) if field.name not in ("weights", "split")]
        if len(made.weights) != len(FEATURES) + 1:
            raise ValueError(f"it has {len(made.weights)} weights, not {len(FEATURES) + 1}")
        if not all(type(each) in (int, float) and math.isfinite(each) for each in [*numbers, *made.weights]):
            raise ValueError("its values are no numbers")
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise ModelError(f"the calibration in {str(path)!r} is damaged: {str(error)[:200]}; {LEARN}") from error
    return made


def usable(calibration: Calibrated, step: int) -> Calibration:
    """Returns the calibration of weights.

    Args:
        calibration: what is there.
        step: of the weights.

    Raises:
        ModelError: there is none, it is damaged, or it is of another step.
    """
    if isinstance(calibration, ModelError):
        raise calibration
    if calibration is None:
        raise ModelError(f"confidence: this model has no calibration: {LEARN}, and an export takes it along")
    if calibration.step != step:
        raise ModelError(
            f"confidence: the calibration is of step {calibration.step}, the weights are of step {step}: {LEARN}"
        )
    return calibration
