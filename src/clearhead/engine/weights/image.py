"""A model for the native engine: its parts as arrays, and these packed as ``native/clearhead.h`` has it; no torch."""

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import KINDS, TABLES, Activation, Layer, Linear, Model, Norm, NormKind
from clearhead.engine.weights.packing import BLOCK, PACK, PANEL, Floats, Weights

Groups = tuple[int, int]
"""Features of a group, and how many it has with its padding: states and inner features are one group, heads several."""


def padded(size: int) -> int:
    """Returns ``size`` rounded up to whole panels."""
    return -(-size // PANEL) * PANEL


def group(size: int) -> Groups:
    """Returns a group of ``size`` features with its padding."""
    return size, padded(size)


@dataclass(frozen=True)
class LinearPart:
    """A linear layer: y = x weight^T + bias."""

    weight: Floats | Sequence[Floats]
    """[outputs, inputs]; of several layers of one input, whose outputs stand side by side, one after another."""
    bias: Floats | Sequence[Floats] | None
    """[outputs]; of several layers likewise."""
    outputs: Groups
    inputs: Groups


@dataclass(frozen=True)
class NormPart:
    """A layer or RMS norm."""

    kind: NormKind
    gain: Floats
    bias: Floats | None
    eps: float


@dataclass(frozen=True)
class LayerParts:
    """A layer; names are those of ``ch_layer``, and what the layer has not is left out."""

    norms: Mapping[str, NormPart]
    linears: Mapping[str, LinearPart]


@dataclass(frozen=True)
class ModelParts:
    """A whole model, before it is packed."""

    sizes: Mapping[str, int]
    """d_model, d_ff, heads, kv_heads, vocab, src_vocab, max_len, gated, residual, unit_heads; of an encoder without a
    decoder also segment_count, and vocab is what its head has outputs for."""
    activation: Activation
    embedding_scale: float
    decoder: Sequence[LayerParts]
    lm_head: LinearPart
    encoder: Sequence[LayerParts] = ()
    norms: Mapping[str, NormPart] = field(default_factory=dict)
    """encoder_norm, decoder_norm, embedding_norm, head_norm."""
    tables: Mapping[str, Floats] = field(default_factory=dict)
    """Those of ``ch_model`` that the model has, not padded; an embedding table that is not here is ``lm_head``'s."""
    transform: LinearPart | None = None
    """What comes before ``lm_head``, with its activation and the norm ``head_norm``."""
    head_activation: Activation = Activation.NONE


class Image:
    """A packed model: a ``Model`` whose pointers lead into arrays that live as long as this object.

    Args:
        parts: what to pack.
        weights: how linear layers hold theirs; with int4 the output layer, which is more sensitive, has int8.
    """

    def __init__(self, parts: ModelParts, weights: Weights = "float32") -> None:
        self.arrays: list[NDArray[Any]] = []
        self.weights: Weights = weights
        sizes = dict(parts.sizes)
        head_dim = sizes["d_model"] // sizes["heads"]
        self.width, self.vocab = padded(sizes["d_model"]), sizes["vocab"]
        sizes |= {"width": self.width, "inner": padded(sizes["d_ff"]), "head_dim": head_dim, "head": padded(head_dim)}
        self.model = Model(**sizes, activation=parts.activation, embedding_scale=parts.embedding_scale)
        self.model.encoder_layers, self.model.decoder_layers = len(parts.encoder), len(parts.decoder)
        self._layers: tuple[ctypes.Array[Layer], ...] = (self._stack(parts.encoder), self._stack(parts.decoder))
        if parts.encoder:
            self.model.encoder = self._layers[0]
        self.model.decoder = self._layers[1]
        for name, norm in parts.norms.items():
            setattr(self.model, name, self._norm(norm))
        self.model.lm_head = self._linear(parts.lm_head, "int8" if weights == "int4" else weights)
        if parts.transform is not None:
            self.model.transform = self._linear(parts.transform, weights)
        self.model.head_activation = parts.head_activation
        for name in TABLES:
            self._table(name, parts)

    @classmethod
    def of(
        cls, model: Model, stacks: "tuple[ctypes.Array[Layer], ...]", arrays: list[NDArray[Any]], weights: Weights
    ) -> "Image":
        """Returns a model that is packed already, whose pointers lead into ``stacks`` and ``arrays``."""
        image = cls.__new__(cls)
        image.model, image._layers, image.arrays, image.weights = model, stacks, arrays, weights
        image.width, image.vocab = model.width, model.vocab
        return image

    def holding(self, cache: int) -> "Image":
        """Returns the same weights with keys and values of another kind."""
        model = Model.from_buffer_copy(self.model)
        model.cache = cache
        return Image.of(model, self._layers, self.arrays, self.weights)

    @property
    def logits(self) -> int:
        """Columns of logits, with their padding."""
        return int(self.model.lm_head.outputs)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays)

    def _stack(self, layers: Sequence[LayerParts]) -> "ctypes.Array[Layer]":
        stack = (Layer * max(1, len(layers)))()
        for layer, parts in zip(stack, layers, strict=False):
            for name, norm in parts.norms.items():
                setattr(layer, name, self._norm(norm))
            for name, linear in parts.linears.items():
                setattr(layer, name, self._linear(linear, self.weights))
        return stack

    def _norm(self, part: NormPart) -> Norm:
        bias = None if part.bias is None else self._kept(part.bias)
        return Norm(gain=self._kept(part.gain), bias=bias, eps=part.eps, kind=part.kind)

    def _linear(self, part: LinearPart, weights: Weights) -> Linear:
        weight = _whole(part.weight)
        rows, columns = places(part.outputs, len(weight)), places(part.inputs, weight.shape[1])
        outputs, inputs = padded(len(rows)), len(columns)
        linear = Linear(inputs=inputs, outputs=outputs, kind=KINDS[weights])
        if part.bias is not None:
            bias = _spread(_whole(part.bias), 0, part.outputs)
            linear.bias = self._kept(np.pad(bias, (0, outputs - len(bias))))
        packed: list[NDArray[Any]] = []
        step = max(1, BLOCK // (inputs * PANEL))  # panels at a time, so that packing needs little beside the result
        for first in range(0, outputs // PANEL, step):
            arrays = PACK[weights](_spread_rows(weight, rows[first * PANEL : (first + step) * PANEL], columns))
            packed = packed or [self._room((outputs // PANEL, *each.shape[1:]), each.dtype) for each in arrays]
            for array, each in zip(packed, arrays, strict=True):
                array[first : first + len(each)] = each
        for name, array in zip(("weight", "scale", "sums"), packed, strict=False):
            setattr(linear, name, array.ctypes.data)
        return linear

    def _table(self, name: str, parts: ModelParts) -> None:
        table = parts.tables.get(name)
        if name == "tgt_table" and parts.encoder and not parts.decoder:
            return
        if name in ("src_table", "tgt_table") and table is None:
            setattr(self.model, name, self.model.lm_head.weight)
            setattr(self.model, name.replace("table", "panels"), 1)
            return
        if table is None:
            return
        if name.endswith(("table", "positions", "segments")):
            table = _spread(table, 1, group(parts.sizes["d_model"]))
        setattr(self.model, name, self._kept(table))

    def _kept(self, array: NDArray[Any]) -> int:
        """Copies an array to where cache lines begin, keeps it, and returns its address."""
        kept = self._room(array.shape, np.dtype(np.float32))
        kept[...] = array
        return int(kept.ctypes.data)

    def _room(self, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> NDArray[Any]:
        """Returns an array that begins where a cache line does, and is kept."""
        size = math.prod(shape) * dtype.itemsize
        block = np.empty(size + 64, dtype=np.uint8)
        start = -block.ctypes.data % 64
        self.arrays.append(block[start : start + size].view(dtype).reshape(shape))
        return self.arrays[-1]


def places(groups: Groups, count: int) -> NDArray[np.intp]:
    """Returns which of ``count`` features stands in each place of groups with padding; -1 where none does."""
    size, whole = groups
    place = np.arange(count // size * whole)
    return np.where(place % whole < size, place // whole * size + place % whole, -1)


def _whole(weight: Floats | Sequence[Floats]) -> Floats:
    """Returns the weights or biases of layers as those of one; of one layer its own."""
    if isinstance(weight, np.ndarray):
        return weight
    return weight[0] if len(weight) == 1 else np.concatenate(weight)


def _spread_rows(weight: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
    """Returns some rows of a weight, up to whole panels, with zeros in the places of padding."""
    block = np.zeros((padded(len(rows)), len(columns)), dtype=np.float32)
    real = rows >= 0
    if (columns >= 0).all():
        block[: len(rows)][real] = weight[rows[real]]
    else:
        block[np.ix_(np.flatnonzero(real), columns >= 0)] = weight[rows[real]]
    return block


def _spread(array: Floats, axis: int, groups: Groups) -> Floats:
    """Puts zeros after each group of features along an axis."""
    size, whole = groups
    if size == whole:
        return array
    shape = list(array.shape)
    shape[axis : axis + 1] = [array.shape[axis] // size, size]
    padding = [(0, 0)] * len(shape)
    padding[axis + 1] = (0, whole - size)
    spread = np.pad(array.reshape(shape), padding)
    shape[axis : axis + 2] = [shape[axis] * whole]
    return spread.reshape(shape)
