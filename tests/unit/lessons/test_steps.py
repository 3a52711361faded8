"""The lesson on the steps is red for positions that are not added, and for a cache that is not what was read."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from clearhead.nn import embedding
from clearhead.nn.cache import LayerCache
from tests.lessons import failing

append = LayerCache.append


def test_a_position_that_is_added_twice_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = vars(embedding)["_placed"]

    def twice(x: Tensor, position: Any, positions: Any, start: int) -> Tensor:
        return placed(placed(x, position, positions, start), position, positions, start)

    monkeypatch.setattr(embedding, "_placed", twice)
    assert failing("steps", trained=toy_run) == {"sum"}


def test_a_cache_that_loses_its_first_position_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(self: LayerCache, keys: Tensor, values: Tensor) -> Any:
        first = min(self.length, 1)
        return tuple(part[:, :, first:] for part in append(self, keys, values))

    monkeypatch.setattr(LayerCache, "append", short)
    assert failing("steps", trained=toy_run) == {"at_once"}
