"""The labels that the lines of all splits have in common; no NumPy, no torch."""

from dataclasses import dataclass

from clearhead.brief import Brief


@dataclass(frozen=True)
class Labels(Brief):
    """What the lines of all splits have in common, taken from the training lines."""

    classes: tuple[str, ...]
    """Class labels by class number; empty if labels are numbers."""
    pairs: bool | None
    """Whether a line has two texts; None if unknown, for a model from elsewhere that does not say."""
    mean: float = 0.0
    """Mean of the labels, if they are numbers."""
    deviation: float = 1.0
    """Standard deviation of the labels, if they are numbers; 1 if all are equal."""
