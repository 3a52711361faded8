"""What PyTorch offers is said, and why it offers less where its kernels are not what they were."""

import pytest
import torch

from clearhead.engine.copies.int8 import Int8Linear
from clearhead.engine.copies.onednn import PackedLinear
from clearhead.verbs.machine.torch_here import _engines, product_rate


def test_why_there_are_no_fast_kernels_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object) -> None:
        raise AttributeError("no such kernel")

    monkeypatch.setattr(PackedLinear, "__init__", gone)
    monkeypatch.setattr(Int8Linear, "__init__", gone)
    assert _engines() == {
        "float32": "by PyTorch's own layers, slower: AttributeError: no such kernel",
        "int8": "not possible: AttributeError: no such kernel",
    }


def test_a_product_has_a_rate() -> None:
    assert product_rate("float32", torch.device("cpu")) > 1e8
