"""The layers of our models as nodes of an ONNX graph, a function a module; the grid check compares what they compute.

Every function takes the graph, a module and the names of values, and returns the name of what it adds. Where opset 23
has an operator (attention, RMS norm), it is taken; older opsets get what it is made of.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.export.onnx.graph import BOOL, FLOAT, Graph
from clearhead.nn.activation import GeluTanh
from clearhead.nn.attention import Additive, Attention, CrossAttention, ScaledDotProduct
from clearhead.nn.embedding import Embedding, SegmentedEmbedding
from clearhead.nn.layer import Layer
from clearhead.nn.mlp import MLP, GatedMLP
from clearhead.nn.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, NoNorm, RMSNorm
from clearhead.nn.position import Alibi, LearnedPosition, Rotary, SinusoidalPosition
from clearhead.nn.residual import Residual

ATTENTION, GELU = 23, 20
"""The opsets that brought the operators of attention and RMS norm, and of the two forms of GELU."""
KeysValues = tuple[str, str]


@dataclass(frozen=True)
class Mask:
    """What queries may attend to: [batch or 1, heads or 1, queries, keys]."""

    value: str
    added: bool = False
    """Whether it is added to the scores; otherwise it is True where a query may attend."""


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines that turn queries and keys, [queries, head_dim] or [batch, 1, queries, head_dim]."""

    cos: str
    sin: str


def linear(graph: Graph, x: str, *layers: nn.Linear) -> str:
    """Returns the outputs of all ``layers`` side by side, as one product."""
    product = graph.op("MatMul", x, graph.matrix([layer.weight for layer in layers]))
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    if not biases:
        return product
    return graph.op("Add", product, graph.weight(biases[0] if len(biases) == 1 else torch.cat(biases)))


def norm(graph: Graph, module: nn.Module, x: str, real: str) -> str:
    """Adds a norm of [batch, seq, d_model]; ``real`` [batch, seq, 1] is 1.0, and 0.0 at padding."""
    match module:
        case NoNorm():
            return x
        case LayerNorm():
            parts = [graph.weight(part) for part in (module.weight, module.bias) if part is not None]
            return graph.op("LayerNormalization", x, *parts, axis=-1, epsilon=module.eps)
        case RMSNorm():
            return _rms(graph, x, module.weight, module.eps)
        case BatchNorm():
            scale = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
            return _affine(graph, x, scale, _bias(module) - module.running_mean.double() * scale)
        case GroupNorm():
            groups = graph.op("Reshape", x, graph.ints(0, 0, module.groups, -1))
            ones = graph.weight(torch.ones(module.d_model // module.groups))
            normed = graph.op("LayerNormalization", groups, ones, axis=-1, epsilon=module.eps)
            whole = graph.op("Reshape", normed, graph.ints(0, 0, module.d_model))
            return _affine(graph, whole, module.weight, _bias(module))
        case InstanceNorm() if not module.causal:
            count = graph.op("ReduceSum", real, graph.ints(1))
            mean = graph.op("Div", graph.op("ReduceSum", graph.op("Mul", x, real), graph.ints(1)), count)
            centred = graph.op("Mul", graph.op("Sub", x, mean), real)
            variance = graph.op("Div", graph.op("ReduceSum", graph.op("Mul", centred, centred), graph.ints(1)), count)
            deviation = graph.op("Sqrt", graph.op("Add", variance, graph.number(module.eps)))
            out = _affine(graph, graph.op("Div", centred, deviation), module.weight, _bias(module))
            return graph.op("Mul", out, real)
    raise _unknown(module)


def activation(graph: Graph, module: nn.Module, x: str) -> str:
    """Adds an activation, or the function of a gate."""
    match module:
        case nn.ReLU():
            return graph.op("Relu", x)
        case nn.Sigmoid():
            return graph.op("Sigmoid", x)
        case nn.Tanh():
            return graph.op("Tanh", x)
        case nn.SiLU():
            return graph.op("Mul", x, graph.op("Sigmoid", x))
        case nn.Softmax():
            return graph.op("Softmax", x, axis=-1)
        case nn.GELU() if graph.opset >= GELU:
            return graph.op("Gelu", x)
        case GeluTanh() if graph.opset >= GELU:
            return graph.op("Gelu", x, approximate="tanh")
        case nn.GELU():
            inside = graph.op("Erf", graph.op("Mul", x, graph.number(1 / math.sqrt(2))))
        case GeluTanh():
            cube = graph.op("Mul", graph.op("Mul", x, x), graph.op("Mul", x, graph.number(0.044715)))
            sum_ = graph.op("Add", x, cube)
            inside = graph.op("Tanh", graph.op("Mul", sum_, graph.number(math.sqrt(2 / math.pi))))
        case _:
            raise _unknown(module)
    half = graph.op("Mul", x, graph.number(0.5))
    return graph.op("Mul", half, graph.op("Add", inside, graph.number(1.0)))


def embedded(graph: Graph, module: Embedding | SegmentedEmbedding, ids: str, positions: str) -> str:
    """Adds the table's rows of ``ids``, scaled, and what the positions [batch, seq] or [seq] add."""
    x = graph.op("Gather", graph.weight(module.tokens.weight), ids)
    if isinstance(module, Embedding) and module.scale != 1:
        x = graph.op("Mul", x, graph.number(module.scale))
    match module.position:
        case None:
            return x
        case LearnedPosition() as place:
            table: Tensor = place.weight
        case SinusoidalPosition() as place:
            table = place.table
    return graph.op("Add", x, graph.op("Gather", graph.weight(table), positions))


def rotation(graph: Graph, layers: nn.ModuleList, positions: str, *, rows: bool) -> Rotation | None:
    """Adds what turns queries and keys at ``positions``, [batch, seq] with ``rows``, else [seq]; None: nothing does."""
    layer = layers[0]
    assert isinstance(layer, Layer)
    if layer.attn.rotary is None:
        return None
    rotary: Rotary = layer.attn.rotary
    parts = [graph.op("Gather", graph.weight(table), positions) for table in (rotary.cos, rotary.sin)]
    return Rotation(*(graph.op("Unsqueeze", part, graph.ints(1)) if rows else part for part in parts))


def projected(
    graph: Graph, attn: Attention, x: str, turn: Rotation | None, *, every_head: bool
) -> tuple[str, KeysValues]:
    """Adds queries, keys and values of self-attention, each [batch, heads, seq, head_dim].

    Args:
        graph: where they are added.
        attn: whose projections these are.
        x: [batch, seq, d_model].
        turn: rotation of queries and keys.
        every_head: whether keys and values are repeated for the heads of queries that share them.
    """
    joint = linear(graph, x, attn.q_proj, attn.k_proj, attn.v_proj)
    own, shared = attn.n_heads * attn.head_dim, attn.n_kv_heads * attn.head_dim
    q, k, v = (
        _heads(graph, part, heads)
        for part, heads in zip(
            graph.ops("Split", joint, graph.ints(own, shared, shared), outputs=3, axis=-1),
            (attn.n_heads, attn.n_kv_heads, attn.n_kv_heads),
            strict=True,
        )
    )
    if attn.qk_norm:
        q, k = _unit(graph, attn, q), _unit(graph, attn, k)
    if turn is not None:
        q, k = (_turned(graph, part, turn, attn.head_dim) for part in (q, k))
    return q, (_repeated(graph, attn, k), _repeated(graph, attn, v)) if every_head else (k, v)


def crossed(graph: Graph, attn: CrossAttention, memory: str) -> KeysValues:
    """Adds keys and values of the memory for every head of queries, see ``projected``."""
    joint = linear(graph, memory, attn.k_proj, attn.v_proj)
    parts = graph.ops("Split", joint, graph.ints(*[attn.n_kv_heads * attn.head_dim] * 2), outputs=2, axis=-1)
    keys, values = (_heads(graph, part, attn.n_kv_heads) for part in parts)
    if attn.qk_norm:
        keys = _unit(graph, attn, keys)
    return _repeated(graph, attn, keys), _repeated(graph, attn, values)


def attended(
    graph: Graph, attn: Attention, q: str, keys_values: KeysValues, mask: Mask, *, every_head: bool = True
) -> str:
    """Adds the weighted sums of values and the output projection: [batch, queries, d_model]."""
    keys, values = keys_values
    core = attn.core
    fused = isinstance(core, ScaledDotProduct) and graph.opset >= ATTENTION
    if not every_head and not fused:
        keys, values = _repeated(graph, attn, keys), _repeated(graph, attn, values)
    if fused:
        mixed = graph.op("Attention", q, keys, values, mask.value)
    else:
        weights = graph.op("Softmax", _masked(graph, _scores(graph, attn, q, keys), mask), axis=-1)
        mixed = graph.op("MatMul", weights, values)
    rows = graph.op("Transpose", mixed, perm=[0, 2, 1, 3])
    joined = graph.op("Reshape", rows, graph.ints(0, 0, attn.n_heads * attn.head_dim))
    return linear(graph, joined, attn.o_proj)


def cross_queries(graph: Graph, attn: CrossAttention, x: str) -> str:
    """Adds the queries of a decoder to a memory."""
    q = _heads(graph, linear(graph, x, attn.q_proj), attn.n_heads)
    return _unit(graph, attn, q) if attn.qk_norm else q


def residual(graph: Graph, module: Residual, x: str, branch: str) -> str:
    """Adds the residual sum."""
    return graph.op("Add", x, branch) if module.skip else branch


def feed_forward(graph: Graph, layer: Layer, x: str, real: str) -> str:
    """Adds the feed-forward sublayer of a layer, if it has one."""
    mlp = layer.mlp
    if mlp is None:
        return x
    h = norm(graph, layer.mlp_norm, x, real)
    match mlp:
        case MLP():
            inside = activation(graph, mlp.activation, linear(graph, h, mlp.up_proj))
        case GatedMLP():
            gate = activation(graph, mlp.activation, linear(graph, h, mlp.gate_proj))
            inside = graph.op("Mul", gate, linear(graph, h, mlp.up_proj))
    x = residual(graph, layer.mlp_residual, x, linear(graph, inside, mlp.down_proj))
    return norm(graph, layer.mlp_post_norm, x, real)


def with_bias(graph: Graph, mask: Mask, bias: nn.Module | None, queries: str, keys: str) -> Mask:
    """Combines a mask with ALiBi, if the model has it; ``queries`` and ``keys`` are positions [seq]."""
    if bias is None:
        return mask
    assert isinstance(bias, Alibi)
    rows = graph.op("Unsqueeze", queries, graph.ints(1))
    back = graph.op("Cast", graph.op("Sub", rows, graph.op("Unsqueeze", keys, graph.ints(0))), to=FLOAT)
    zero = graph.number(0.0)
    left, right = (graph.weight(slopes[:, None, None]) for slopes in (bias.slopes, bias.slopes.flip(0)))
    after = graph.op("Mul", right, graph.op("Min", back, zero))
    penalty = graph.op("Sub", after, graph.op("Mul", left, graph.op("Max", back, zero)))  # heads queries keys
    batched = graph.op("Unsqueeze", penalty, graph.ints(0))
    return Mask(graph.op("Where", mask.value, batched, graph.number(-math.inf)), added=True)


def padding(graph: Graph, attention_mask: str, queries: str) -> Mask:
    """Adds the mask that hides padding from ``queries`` queries, a number: [batch, 1, queries, keys]."""
    keys = graph.op("Unsqueeze", graph.op("Cast", attention_mask, to=BOOL), graph.ints(1, 2))
    rows = graph.op("Unsqueeze", queries, graph.ints(0))
    shape = graph.op("Concat", graph.ints(1, 1), rows, graph.ints(1), axis=0)
    return Mask(graph.op("Expand", keys, shape))  # ONNX Runtime wants the axis of queries written out


def span(graph: Graph, first: str, end: str) -> str:
    """Adds the whole numbers from ``first`` up to ``end``, which is left out."""
    return graph.op("Range", first, end, graph.whole(1))


def _scores(graph: Graph, attn: Attention, q: str, keys: str) -> str:
    match attn.core:
        case ScaledDotProduct():
            product = graph.op("MatMul", q, graph.op("Transpose", keys, perm=[0, 1, 3, 2]))
            return graph.op("Mul", product, graph.number(1 / math.sqrt(attn.head_dim)))
        case Additive() as core:
            pairs = [graph.op("Unsqueeze", part, graph.ints(axis)) for part, axis in ((q, 3), (keys, 2))]
            joint = graph.op("Tanh", graph.op("Add", *pairs))  # batch heads queries keys head_dim
            weighted = graph.op("Mul", joint, graph.weight(core.score[:, None, None]))
            return graph.op("ReduceSum", weighted, graph.ints(-1), keepdims=0)
    raise _unknown(attn.core)


def _masked(graph: Graph, scores: str, mask: Mask) -> str:
    if mask.added:
        return graph.op("Add", scores, mask.value)
    return graph.op("Where", mask.value, scores, graph.number(-math.inf))


def _heads(graph: Graph, x: str, heads: int) -> str:
    split = graph.op("Reshape", x, graph.ints(0, 0, heads, -1))  # batch seq (heads dim) -> batch seq heads dim
    return graph.op("Transpose", split, perm=[0, 2, 1, 3])


def _repeated(graph: Graph, attn: Attention, x: str) -> str:
    """Repeats keys or values for the heads of queries that share them."""
    if attn.n_heads == attn.n_kv_heads:
        return x
    sharing = attn.n_heads // attn.n_kv_heads
    return graph.op("Gather", x, graph.ints(*(head // sharing for head in range(attn.n_heads))), axis=1)


def _turned(graph: Graph, x: str, turn: Rotation, head_dim: int) -> str:
    low, high = graph.ops("Split", x, graph.ints(head_dim // 2, head_dim // 2), outputs=2, axis=-1)
    swapped = graph.op("Concat", graph.op("Neg", high), low, axis=-1)
    return graph.op("Add", graph.op("Mul", x, turn.cos), graph.op("Mul", swapped, turn.sin))


def _unit(graph: Graph, attn: Attention, x: str) -> str:
    """Divides each vector of a head by its root mean square."""
    return _rms(graph, x, torch.ones(attn.head_dim), torch.finfo(torch.float32).eps)


def _rms(graph: Graph, x: str, weight: Tensor, eps: float) -> str:
    if graph.opset >= ATTENTION:
        return graph.op("RMSNormalization", x, graph.weight(weight), axis=-1, epsilon=eps)
    mean = graph.op("ReduceMean", graph.op("Mul", x, x), graph.ints(-1))
    root = graph.op("Sqrt", graph.op("Add", mean, graph.number(eps)))
    return graph.op("Mul", graph.op("Div", x, root), graph.weight(weight))


def _affine(graph: Graph, x: str, scale: Tensor, shift: Tensor) -> str:
    return graph.op("Add", graph.op("Mul", x, graph.weight(scale)), graph.weight(shift))


def _bias(module: BatchNorm | GroupNorm | InstanceNorm) -> Tensor:
    assert module.bias is not None
    return module.bias


def _unknown(module: nn.Module) -> ModelError:
    return ModelError(f"ONNX: a {type(module).__name__} is not among the modules that are written")
