"""Scores of a masked language model."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MaskedScores:
    """What was found of the masked pieces and of the pairs; None where the model tells no pairs apart."""

    pieces: int
    """Masked pieces."""
    loss: float
    """Nats per masked piece."""
    mlm_accuracy: float
    """Share of the masked pieces that are the most probable one."""
    pairs: int
    nsp_loss: float | None
    """Nats per pair."""
    nsp_accuracy: float | None
    """Share of the pairs that are told right."""

    @property
    def pseudo_perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(self.loss)

    def as_dict(self) -> dict[str, float]:
        """Returns what there is of loss and accuracies, by name."""
        found = {
            "loss": self.loss,
            "mlm_accuracy": self.mlm_accuracy,
            "nsp_loss": self.nsp_loss,
            "nsp_accuracy": self.nsp_accuracy,
        }
        return {name: value for name, value in found.items() if value is not None}
