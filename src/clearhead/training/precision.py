"""Half precision: autocast, and the loss scale that keeps small float16 gradients from vanishing."""

from typing import Any, Literal

import torch
from torch.amp.grad_scaler import GradScaler

PrecisionName = Literal["float32", "bfloat16", "float16"]
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """The type of a step's matrix products; weights, norms, losses and gradients of weights stay float32.

    float16 ends at 65,504 and has nothing below 6e-8, where many gradients are. So the loss is multiplied by a scale,
    which grows as long as no gradient overflows and is halved when one does (Micikevicius et al. 2018,
    arXiv:1710.03740). bfloat16 has float32's range and needs no scale.

    Args:
        name: float32, bfloat16 or float16.
        device: kind of device: cpu, cuda, mps.
    """

    def __init__(self, name: PrecisionName = "float32", device: str = "cpu") -> None:
        self.name, self.device = name, device
        self.scaler = GradScaler(device, enabled=name == "float16")

    @property
    def kind(self) -> torch.dtype:
        """The type of the products, as torch's."""
        return _TYPES[self.name]

    def autocast(self) -> torch.autocast:
        """Returns the context in which a step computes its forward pass and loss."""
        return torch.autocast(self.device, _TYPES[self.name], enabled=self.name != "float32")

    def state(self) -> dict[str, Any]:
        """Returns the loss scale and the count that decides when it grows; empty without a loss scale."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores the result of ``state``; an empty one leaves the loss scale at its initial value."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
