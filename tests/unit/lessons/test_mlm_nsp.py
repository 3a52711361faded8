"""The lesson on BERT's pretraining is red for pieces that are always hidden, for false labels, for a missing part."""

import dataclasses
from typing import Any

import pytest
from torch import Tensor, nn

from clearhead.data import masked
from clearhead.lessons import mlm_nsp
from clearhead.nn import embedding
from tests.lessons import failing


def test_hiding_every_chosen_piece_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    config = mlm_nsp.MaskedConfig(mask_share=1.0, random_share=0.0)
    monkeypatch.setattr(mlm_nsp, "MaskedConfig", lambda: config)
    assert failing("mlm-nsp") == {"fates"}


def test_false_labels_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_pairs = masked.plan_pairs

    def turned(*arguments: Any, **more: Any) -> Any:
        pairs = plan_pairs(*arguments, **more)
        return dataclasses.replace(pairs, is_next=~pairs.is_next)

    monkeypatch.setattr(masked, "plan_pairs", turned)
    assert failing("mlm-nsp") == {"true"}


def test_an_input_without_positions_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplaced(x: Tensor, position: nn.Module, positions: Tensor | None, start: int) -> Tensor:
        return x

    monkeypatch.setattr(embedding, "_placed", unplaced)
    assert failing("mlm-nsp") == {"sum", "parts"}
