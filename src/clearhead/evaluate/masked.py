"""Scores of a masked language model."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MaskedScores:
    """How well masked pieces and next sentences are predicted; the latter is None if the model does not predict it."""

    pieces: int
    """Number of masked pieces."""
    loss: float
    """Nats per masked piece."""
    mlm_accuracy: float
    """Share of the masked pieces to which the model gives the highest probability."""
    pairs: int
    """Number of sentence pairs."""
    nsp_loss: float | None
    """Nats per pair."""
    nsp_accuracy: float | None
    """Share of the pairs that are classified correctly."""

    @property
    def pseudo_perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(self.loss)

    def as_dict(self) -> dict[str, float]:
        """Returns the losses and accuracies by name, without those that are None."""
        scores = {
            "loss": self.loss,
            "mlm_accuracy": self.mlm_accuracy,
            "nsp_loss": self.nsp_loss,
            "nsp_accuracy": self.nsp_accuracy,
        }
        return {name: value for name, value in scores.items() if value is not None}
