"""The lesson on modules is red for layers that keep tensors or modules where nobody looks for them."""

import pytest
from torch import Tensor, nn

from clearhead.inspect import modules
from clearhead.lessons.module import Traced
from clearhead.nn import layer
from tests.lessons import failing


def test_a_buffer_that_is_not_registered_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(self: nn.Module, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        setattr(self, name, tensor)

    monkeypatch.setattr(nn.Module, "register_buffer", plain)
    monkeypatch.delattr(Traced, "register_buffer")
    assert failing("module") == {"when", "buffers", "kept"}


def test_a_network_in_a_list_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    build = layer.build_norm
    monkeypatch.setattr(layer.Residual, "__init__", lambda self, **rates: hide(self, build("layer", 4)))

    def hide(residual: nn.Module, norm: nn.Module) -> None:
        nn.Module.__init__(residual)
        residual.norms = [norm]  # type: ignore[assignment]

    assert failing("module") == {"kept"}


def test_a_view_that_does_not_look_into_lists_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "DEPTH", 0)
    assert failing("module") == {"lost"}
