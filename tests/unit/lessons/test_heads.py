"""The lesson on heads is red if all heads ask the same, or if switching one off does nothing."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from clearhead.inspect import heads
from clearhead.nn.attention import ScaledDotProduct
from tests.lessons import failing

right = ScaledDotProduct.forward


def test_heads_that_all_ask_the_same_are_one_head(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(self: ScaledDotProduct, q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
        return right(self, q[:, :1].expand_as(q), k[:, :1].expand_as(k), v, **more)

    monkeypatch.setattr(ScaledDotProduct, "forward", alike)
    assert failing("heads", trained=toy_run) == {"enough", "more"}


def test_heads_that_are_not_switched_off_have_no_worth(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "without_head", lambda core, head: nullcontext())
    assert failing("heads", trained=toy_run) == {"unequal"}
