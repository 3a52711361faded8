"""Half precision: what is computed in it, and the scale that keeps the small gradients of float16 from vanishing."""

from typing import Any, Literal

import torch
from torch.amp.grad_scaler import GradScaler

PrecisionName = Literal["float32", "bfloat16", "float16"]
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """Which type the products of a step are in; weights, norms, losses and gradients of weights stay float32.

    float16 ends at 65,504 and has nothing below 6e-8, where many gradients are: the loss is multiplied by a scale
    that grows while all goes well and is halved where a gradient overflows (Micikevicius et al. 2018,
    arXiv:1710.03740). bfloat16 has float32's range and needs none.

    Args:
        name: float32, bfloat16 or float16.
        device: kind of the device: cpu, cuda, mps.
    """

    def __init__(self, name: PrecisionName = "float32", device: str = "cpu") -> None:
        self.name, self.device = name, device
        self.scaler = GradScaler(device, enabled=name == "float16")

    @property
    def kind(self) -> torch.dtype:
        """The type."""
        return _TYPES[self.name]

    def autocast(self) -> torch.autocast:
        """The context for a forward pass and its loss: the only place that decides on it."""
        return torch.autocast(self.device, _TYPES[self.name], enabled=self.name != "float32")

    def state(self) -> dict[str, Any]:
        """Returns the scale and what moves it, as plain numbers; nothing where there is no scale."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave; without it the scale starts anew."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
