"""How many FLOPs an operator takes: PyTorch's formulas and ours; a product that neither can count is an error."""

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from clearhead.errors import ModelError

Shape = Sequence[int]
Formula = Callable[..., int]
"""Called with the arguments of the operator, and with its result as ``out_val``."""

MULTIPLIES = re.compile(r"attention|attn|sdpa|transformer|matmul|gemm|conv|linear|rnn|lstm|gru|dot|(mm|mv)(_|$)")
"""Finds, in the name of an operator, that it computes products of matrices or vectors."""
MULTIPLIES_NOT = re.compile(r"convert|upsample|prepack|unpack|reorder|flatten_weight|_thnn_fused_(lstm|gru)_cell")
"""Finds the exceptions: they rearrange weights, or work number by number."""
LEFT_OUT = frozenset(("mv", "addmv", "addmv_", "dot", "vdot", "addmm_"))
"""Products that PyTorch's own counter leaves out, and so do our figures: those with a vector, which are few FLOPs, and
``addmm_``, by which ``loss.linear_cross_entropy`` adds up a gradient: 1 to 8 % of the FLOPs of a step."""


def _attention(query: Shape, key: Shape, value: Shape, *rest: Any, **more: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Any, **more: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


def _sum_and_product(added: Shape, left: Shape, right: Shape, **more: Any) -> int:
    return 2 * prod(left) * right[-1]


def _recurrent_layer(x: Shape, input_weight: Shape, hidden_weight: Shape, *rest: Any, **more: Any) -> int:
    return 2 * prod(x[:-1]) * (prod(input_weight) + prod(hidden_weight))


def _recurrent_layers(x: Shape, weights: Sequence[Shape], *rest: Any, **more: Any) -> int:
    return 2 * prod(x[:-1]) * sum(prod(weight) for weight in weights if len(weight) == 2)  # the others are biases


def _twice(forward: Formula) -> Formula:
    """On the way back a layer multiplies by its weights, and by its inputs."""
    return lambda *args, **kwargs: 2 * forward(*args, **kwargs)


def _attention_block(query: Shape, key: Shape, value: Shape, d_model: int, *rest: Any, **more: Any) -> int:
    queries_and_outputs, keys_and_values = 4 * prod(query) * d_model, 4 * prod(key) * d_model
    scores_and_means = 4 * prod(query) * key[1]
    return queries_and_outputs + keys_and_values + scores_and_means


def _encoder_layer(x: Shape, d_model: int, *rest: Any, **more: Any) -> int:
    up, down = rest[12], rest[14]
    return _attention_block(x, x, x, d_model) + 2 * prod(x[:-1]) * (prod(up) + prod(down))


OURS: dict[str, Formula] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "baddbmm_": _sum_and_product,
    "_addmm_activation": _sum_and_product,
    "mkldnn_rnn_layer": _recurrent_layer,
    "mkldnn_rnn_layer_backward": _twice(_recurrent_layer),
    "_cudnn_rnn": _recurrent_layers,
    "_cudnn_rnn_backward": _twice(_recurrent_layers),
    "_native_multi_head_attention": _attention_block,
    "_transformer_encoder_layer_fwd": _encoder_layer,
}
"""Of operators that PyTorch leaves out, by name in ``torch.ops.aten``: shapes -> FLOPs. A mask takes nothing off."""


def known_formulas() -> dict[Any, Formula]:
    """Returns PyTorch's formulas and ours by operator.

    Raises:
        ModelError: this PyTorch lacks an operator that has a formula here; what replaced it would count as 0.
    """
    ours = {}
    for name, formula in OURS.items():
        operator = getattr(torch.ops.aten, name, None)
        if operator is None:
            raise ModelError(
                f"operator {name!r}: PyTorch {torch.__version__} has no such operator, so its FLOPs "
                "cannot be counted; install a version of PyTorch that this clearhead knows"
            )
        ours[operator] = _of_shapes(formula)
    theirs = {operator: _of_tensors(formula) for operator, formula in flop_registry.items()}
    return {**theirs, **ours}


def check_counted(name: str) -> None:
    """Checks that an operator without a formula has nothing to count.

    Args:
        name: in the dispatcher, such as ``aten::mm``.

    Raises:
        ModelError: by its name it computes products.
    """
    base = name.rpartition("::")[2].partition(".")[0]
    if base not in LEFT_OUT and MULTIPLIES.search(base) and not MULTIPLIES_NOT.search(base):
        raise ModelError(
            f"operator {name!r}: nothing says how many FLOPs it takes, and without it the count would be wrong; "
            "give a formula by torch.utils.flop_counter.register_flop_formula"
        )


def _of_tensors(formula: Formula) -> Formula:
    """Finds the shapes that most formulas take; PyTorch's wrapper around them does so by trees, which takes longer."""
    of_shapes: Formula | None = getattr(formula, "__wrapped__", None)
    return formula if of_shapes is None else _of_shapes(of_shapes)


def _of_shapes(formula: Formula) -> Formula:
    counts: dict[Any, int] = {}  # layers that are alike are counted once

    def count(*args: Any, out_val: Any, **kwargs: Any) -> int:
        key = _shapes(args), _shapes(tuple(kwargs.items())), _shapes(out_val)
        if key not in counts:
            counts[key] = formula(*key[0], **dict(key[1]), out_shape=key[2])
        return counts[key]

    return count


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.is_nested:
            raise ModelError("model: packs rows of different lengths into a nested tensor, whose FLOPs are not counted")
        return value.shape
    return tuple(map(_shapes, value)) if isinstance(value, list | tuple) else value
