"""The lesson on hooks is red for an attention that does not look at its hooks, or computes something else with them."""

import pytest
from torch import Tensor, nn

from clearhead.nn import attention
from tests.lessons import failing


def test_an_attention_that_ignores_its_hooks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_is_watched", lambda module: False)
    assert failing("hooks") == {"tap"}


def test_an_attention_that_computes_something_else_when_watched_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    explicit = attention.AttentionCore.explicit

    def unscaled(self: attention.AttentionCore, scores: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        return explicit(self, 2 * scores, values, mask)

    monkeypatch.setattr(attention.AttentionCore, "explicit", unscaled)
    assert failing("hooks") == {"tap"}


def test_a_layer_that_is_called_past_its_hooks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Linear, "__call__", nn.Linear.forward)
    assert {"order", "forward", "backward"} <= failing("hooks")
