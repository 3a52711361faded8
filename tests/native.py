"""Native models of small ones, by every set of instructions that the machine has: what several tests share."""

from typing import Any, get_args

import pytest
from hypothesis import strategies as st

from clearhead.engine import library
from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.describe import Covered, described
from clearhead.engine.weights.image import Image
from clearhead.engine.weights.packing import Weights
from clearhead.nn.activation import Elementwise, Gated
from clearhead.nn.position import PositionName

FAULT = library.fault()
NATIVE = pytest.mark.skipif(bool(FAULT), reason=FAULT or "there is a native engine")
KERNELS = ["portable"] if FAULT else library.available()


def native(model: Covered, kernels: str | None = None, weights: Weights = "float32") -> NativeModel:
    return NativeModel(Image(described(model), weights), kernels)


@st.composite
def configs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draws sizes and a block of any covered model; most sizes are no multiples of 16."""
    heads = draw(st.sampled_from([1, 2, 3, 4]))
    head_dim = draw(st.sampled_from([2, 4, 6, 16, 20, 64]))
    sizes = {
        "d_model": heads * head_dim,
        "d_ff": draw(st.sampled_from([1, 7, 16, 33])),
        "n_heads": heads,
        "n_kv_heads": draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0])),
        "position": draw(st.sampled_from(get_args(PositionName))),
    }
    block = {
        "norm": draw(st.sampled_from(["layer", "rms"])),
        "norm_position": draw(st.sampled_from(["pre", "post"])),
        "activation": draw(st.sampled_from([word for kind in (Elementwise, Gated) for word in get_args(kind)])),
        "attention": draw(st.sampled_from(["scaled_dot_product", "qk_norm"])),
        "bias": draw(st.sampled_from([True, False, "all"])),
        "residual": draw(st.sampled_from([True, True, False])),
        "mlp": draw(st.sampled_from([True, True, False])),
    }
    return sizes, block
