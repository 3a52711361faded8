"""Formulas beside PyTorch's counter on the same layer taken apart; what has products and no formula ends loudly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from clearhead.errors import ModelError
from clearhead.inspect.modules import model as model_view
from clearhead.meter.flops import FlopCount
from clearhead.meter.formulas import OURS, check_counted, known_formulas
from clearhead.verbs.plan import Devices, plan
from tests.toy import LANGUAGE_MODEL

ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


def gpt_view() -> None:
    q = torch.ones(1, 2, 3, 4)

    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert model_view(Attention(), q).flops == 4 * 2 * 3 * 3 * 4


def gpt_plan() -> None:
    assert plan(LANGUAGE_MODEL, "here", Devices()).flops_per_step > 0


both = pytest.mark.parametrize("count", [gpt_view, gpt_plan], ids=["view", "plan"])


@pytest.mark.long_but(every=2)
@both
def test_an_operator_that_pytorch_has_under_another_name_ends_loudly(
    count: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    count()
    monkeypatch.setitem(OURS, f"{ATTENTION}_renamed", OURS[ATTENTION])
    monkeypatch.delitem(OURS, ATTENTION)
    with pytest.raises(ModelError, match=rf"operator '{ATTENTION}_renamed': PyTorch .* has no such operator"):
        count()


@both
def test_an_operator_that_is_new_to_us_ends_loudly(count: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OURS, ATTENTION)
    with pytest.raises(ModelError, match=rf"operator 'aten::{ATTENTION}': nothing says how many FLOPs it takes"):
        count()


def test_what_works_number_by_number_or_moves_weights_counts_nothing() -> None:
    for name in (
        "aten::gamma",
        "aten::upsample_bilinear2d",
        "aten::_thnn_fused_lstm_cell",
        "aten::commute",
        "aten::dot",
    ):
        check_counted(name)
    for name in (
        "mine::flash_attention_v9",
        "aten::_grouped_mm",
        "quantized::linear_dynamic",
        "aten::quantized_lstm.input",
    ):
        with pytest.raises(ModelError, match=name):
            check_counted(name)


def test_every_operator_that_pytorch_counts_would_be_missed() -> None:
    """The pattern of names finds each of them, so that it finds their successors."""
    for operator in flop_registry:
        with pytest.raises(ModelError):
            check_counted(str(operator).replace("aten.", "aten::"))


def test_a_formula_that_is_registered_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flop_registry, torch.ops.aten._trilinear, lambda *args, out_val, **kwargs: 7)
    assert known_formulas()[torch.ops.aten._trilinear](out_val=None) == 7


X = torch.ones(3, 5, 8)
LAYERS: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
    "_transformer_encoder_layer_fwd": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (X,)),
    "_native_multi_head_attention": (nn.MultiheadAttention(8, 2, batch_first=True), (X, X, X)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_is_one_operator_counts_as_its_parts(name: str) -> None:
    layer, inputs = LAYERS[name]
    layer.eval()
    with torch.no_grad(), FlopCount() as whole:
        layer(*inputs)
    assert [*whole.by_operator] == [f"aten::{name}"]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), FlopCount() as parts:
            layer(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert whole.total == parts.total > 0


def test_rows_of_different_lengths_in_a_nested_tensor_end_loudly() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1).eval()
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 5])
    with torch.no_grad(), FlopCount(), pytest.raises(ModelError, match="nested tensor, whose FLOPs are not counted"):
        encoder(X, src_key_padding_mask=padding)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_layer_multiplies_each_weight_by_each_position(bidirectional: bool) -> None:
    layer = nn.LSTM(8, 6, num_layers=2, bidirectional=bidirectional)
    once = 2 * 15 * sum(weight.numel() for weight in layer.parameters() if weight.ndim == 2)
    with FlopCount() as forward:
        outputs, _ = layer(X.clone().requires_grad_())
    with FlopCount() as backward:
        outputs.sum().backward()
    assert (forward.total, backward.total) == (once, 2 * once)


def test_a_recurrent_stack_of_cudnn_counts_like_its_layers() -> None:
    layer = nn.LSTM(8, 6, num_layers=2)
    weights = list(layer.parameters())
    once = 2 * 15 * sum(weight.numel() for weight in weights if weight.ndim == 2)
    for name, times in (("_cudnn_rnn", 1), ("_cudnn_rnn_backward", 2)):
        count: Any = known_formulas()[getattr(torch.ops.aten, name)]
        assert count(X, weights, 4, None, out_val=X) == times * once


def test_sums_with_products_count_as_pytorch_counts_the_product() -> None:
    a, b, c = torch.ones(3, 5), torch.ones(5, 7), torch.ones(7)
    with FlopCount() as ours:
        torch._addmm_activation(c, a, b)
        torch.ones(2, 3, 7).baddbmm_(a.expand(2, 3, 5), b.expand(2, 5, 7))
    with FlopCounterMode(display=False) as theirs:
        a @ b
    assert ours.total == 3 * theirs.get_total_flops()
