"""The lesson on optimizer state is red for state that is matched by position, and for an optimizer without it."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from clearhead.lessons import optimizer_state
from clearhead.optim.build import OptimConfig, Optimizers, build_optimizers
from tests.lessons import failing


def test_state_by_position_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Optimizers.load_state_tensors

    def by_position(self: Optimizers, tensors: dict[str, Tensor], **settings: Any) -> None:
        if len(self.names) == 2:  # not the run's
            saved = dict.fromkeys(key.split("/")[1] for key in tensors)
            names = dict(zip(saved, self.names.values(), strict=True))
            tensors = {f"{key.split('/')[0]}/{names[key.split('/')[1]]}": tensor for key, tensor in tensors.items()}
        load(self, tensors, **settings)

    monkeypatch.setattr(Optimizers, "load_state_tensors", by_position)
    assert failing("optimizer-state", trained=toy_run) == {"names"}


def test_an_optimizer_that_keeps_less_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sgd(model: nn.Module, config: OptimConfig, lr: float) -> Optimizers:
        return build_optimizers(model, OptimConfig("sgd", momentum=config.momentum), lr)

    monkeypatch.setattr(optimizer_state, "build_optimizers", sgd)
    assert failing("optimizer-state", trained=toy_run) == {"bytes", "muon"}
