"""The lesson on state dicts is red for a restore that leaves something out, and for weights that are saved twice."""

from typing import Any

import pytest
import torch

from clearhead.lessons import state_dicts
from tests.lessons import failing


def test_an_optimizer_that_forgets_its_moments_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    load = torch.optim.AdamW.load_state_dict

    def forgetful(optimizer: torch.optim.AdamW, content: dict[str, Any]) -> None:
        load(optimizer, content)
        optimizer.state.clear()

    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", forgetful)
    assert failing("state-dicts") == {"resume"}


def test_a_checkpoint_that_repeats_a_tied_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_dicts, "model_tensors", lambda model: model.state_dict())
    assert failing("state-dicts") == {"twice"}


def test_a_saved_dict_that_is_no_copy_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_dicts, "copied", lambda value: value)
    assert failing("state-dicts") == {"model", "resume"}
