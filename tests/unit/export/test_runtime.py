"""What every runtime has: outputs of its own, and nothing else unless it says so."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from clearhead.export.runtime import Row, Runtime


class Silent(Runtime):
    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        return [torch.zeros(len(row.ids), 2) for row in rows]


def test_a_runtime_computes_and_need_not_write_or_read_text() -> None:
    runtime = Silent()
    assert runtime.outputs([Row([1, 2])])[0].shape == (2, 2)
    assert (runtime.greedy([Row([1])], [4]), runtime.encode(["a"]), runtime.decode([[1]])) == (None, None, None)
    with pytest.raises(TypeError, match="abstract"):
        Runtime()  # type: ignore[abstract]
