"""The lesson on strides is red where attention copies its heads, and where a view would count as a copy."""

import pytest
from torch import Tensor

from clearhead.inspect import strides
from clearhead.nn import attention
from tests.lessons import failing


def test_heads_that_are_copied_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    split = attention._split_heads

    def copying(x: Tensor, heads: int) -> Tensor:
        return split(x, heads).contiguous()

    monkeypatch.setattr(attention, "_split_heads", copying)
    assert failing("strides") == {"heads", "watched"}


def test_permute_that_copies_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    permute = Tensor.permute
    monkeypatch.setattr(Tensor, "permute", lambda x, *axes: permute(x, *axes).contiguous())
    assert failing("strides") == {"views", "permute"}


def test_a_copy_that_is_not_counted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strides, "storage_of", lambda tensor: 0)
    assert failing("strides") == {"reshape", "contiguous", "heads", "watched"}
