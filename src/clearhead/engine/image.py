"""A model for the native engine: its parts as arrays, and these packed as ``native/clearhead.h`` has it; no torch."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import KINDS, TABLES, Activation, Layer, Linear, Model, Norm, NormKind

PANEL = 16
Floats = NDArray[np.float32]
Weights = Literal["float32", "int8"]
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

    weight: Floats
    """[outputs, inputs]."""
    bias: Floats | None
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
    decoder: list[LayerParts]
    lm_head: LinearPart
    encoder: list[LayerParts] = field(default_factory=list)
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
        weights: how linear layers hold theirs.
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
        self._layers = self._stack(parts.encoder), self._stack(parts.decoder)
        if parts.encoder:
            self.model.encoder = self._layers[0]
        self.model.decoder = self._layers[1]
        for name, norm in parts.norms.items():
            setattr(self.model, name, self._norm(norm))
        self.model.lm_head = self._linear(parts.lm_head)
        if parts.transform is not None:
            self.model.transform = self._linear(parts.transform)
        self.model.head_activation = parts.head_activation
        for name in TABLES:
            self._table(name, parts)

    @property
    def logits(self) -> int:
        """Columns of logits, with their padding."""
        return int(self.model.lm_head.outputs)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays)

    def _stack(self, layers: list[LayerParts]) -> "ctypes.Array[Layer]":
        stack = (Layer * max(1, len(layers)))()
        for layer, parts in zip(stack, layers, strict=False):
            for name, norm in parts.norms.items():
                setattr(layer, name, self._norm(norm))
            for name, linear in parts.linears.items():
                setattr(layer, name, self._linear(linear))
        return stack

    def _norm(self, part: NormPart) -> Norm:
        bias = None if part.bias is None else self._kept(part.bias)
        return Norm(gain=self._kept(part.gain), bias=bias, eps=part.eps, kind=part.kind)

    def _linear(self, part: LinearPart) -> Linear:
        weight = _spread(_spread(part.weight, 0, part.outputs), 1, part.inputs)
        outputs, inputs = padded(len(weight)), weight.shape[1]
        weight = np.pad(weight, ((0, outputs - len(weight)), (0, 0)))
        linear = Linear(inputs=inputs, outputs=outputs, kind=KINDS[self.weights])
        if part.bias is not None:
            bias = _spread(part.bias, 0, part.outputs)
            linear.bias = self._kept(np.pad(bias, (0, outputs - len(bias))))
        if self.weights == "float32":
            linear.weight = self._kept(weight.reshape(-1, PANEL, inputs).swapaxes(1, 2))
            return linear
        rounded, scale = rounded_to_bytes(weight)
        linear.weight = self._kept(rounded.reshape(-1, PANEL, inputs // 4, 4).swapaxes(1, 2))
        linear.scale, linear.sums = self._kept(scale), self._kept(rounded.sum(axis=1, dtype=np.int32))
        return linear

    def _table(self, name: str, parts: ModelParts) -> None:
        table = parts.tables.get(name)
        if name == "tgt_table" and parts.encoder and not parts.decoder:
            return
        if name in ("src_table", "tgt_table") and table is None and self.weights == "float32":
            setattr(self.model, name, self.model.lm_head.weight)
            setattr(self.model, name.replace("table", "panels"), 1)
            return
        if name in ("src_table", "tgt_table") and table is None:
            table = parts.lm_head.weight
        if table is None:
            return
        if name.endswith(("table", "positions", "segments")):
            table = _spread(table, 1, group(parts.sizes["d_model"]))
        setattr(self.model, name, self._kept(table))

    def _kept(self, array: NDArray[Any]) -> int:
        """Copies an array to where cache lines begin, keeps it, and returns its address."""
        dtype: Any = array.dtype if array.dtype.itemsize == 1 or array.dtype == np.int32 else np.dtype(np.float32)
        block = np.empty(array.size * dtype.itemsize + 64, dtype=np.uint8)
        start = -block.ctypes.data % 64
        kept = block[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
        kept[...] = array
        self.arrays.append(kept)
        return int(kept.ctypes.data)


def rounded_to_bytes(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Rounds each row to whole numbers from -127 to 127 times a scale of its own; returns numbers and scales."""
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    factor = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    steps = np.nan_to_num(weight * factor[:, None])  # a scale that is NaN says enough
    return np.rint(steps).clip(-127, 127).astype(np.int8), scale


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
