"""The lesson on graphs is red for a cache that loses what it was given."""

from typing import Any

import pytest
import torch

from clearhead.lessons import onnx
from tests.lessons import failing


def test_a_cache_that_loses_the_values_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    append = onnx.Grown.append

    def losing(cache: onnx.Grown, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return append(cache, keys, torch.zeros_like(values))

    monkeypatch.setattr(onnx.Grown, "append", losing)
    assert failing("onnx") == {"dynamic", "cached", "forgotten"}
