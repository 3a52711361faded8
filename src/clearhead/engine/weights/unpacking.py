"""Packed float32 weights back in the arrays that they were packed from, bit for bit; no torch."""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import KINDS, TABLES, Layer, Linear, Norm
from clearhead.engine.weights.image import Image, LayerParts, LinearPart, ModelParts, NormPart, padded, places
from clearhead.engine.weights.packing import PANEL, Floats


def unpack(image: Image, parts: ModelParts) -> None:
    """Fills the arrays of a model's parts with the weights that were packed from such parts.

    Args:
        image: of float32 weights.
        parts: of a model of the same recipe, as ``described`` makes them: they share the memory of its parameters. What
            they hold as a copy alone, such as slopes in the other order, is not filled.

    Raises:
        ValueError: the image is of another model; some arrays may be filled by then.
    """
    source, arrays = image.model, {array.ctypes.data: array.nbytes for array in image.arrays}
    take = _Taking(arrays)
    for stack, count, layers in (
        (source.encoder, source.encoder_layers, parts.encoder),
        (source.decoder, source.decoder_layers, parts.decoder),
    ):
        if count != len(layers):
            raise ValueError(f"it has {count} layers in place of {len(layers)}")
        for number, layer in enumerate(layers):
            take.layer(stack[number], layer)
    for name, norm in parts.norms.items():
        take.norm(getattr(source, name), norm)
    take.linear(source.lm_head, parts.lm_head)
    if parts.transform is not None:
        take.linear(source.transform, parts.transform)
    for name in TABLES:
        if name in parts.tables:
            take.table(getattr(source, name), parts.tables[name], name)


def arrays_of(parts: ModelParts) -> Iterator[Floats]:
    """Yields every array of weights that an image holds, as the model has it."""
    for layer in (*parts.encoder, *parts.decoder):
        yield from _of_norms(layer.norms.values())
        for linear in layer.linears.values():
            yield from _of_linear(linear)
    yield from _of_norms(parts.norms.values())
    yield from _of_linear(parts.lm_head)
    if parts.transform is not None:
        yield from _of_linear(parts.transform)
    yield from parts.tables.values()


class _Taking:
    """Copies arrays out of an image.

    Args:
        sizes: bytes of each of its arrays, by address.
    """

    def __init__(self, sizes: dict[int, int]) -> None:
        self._sizes = sizes

    def layer(self, source: Layer, parts: LayerParts) -> None:
        """Fills the parts of a layer."""
        for name, norm in parts.norms.items():
            self.norm(getattr(source, name), norm)
        for name, linear in parts.linears.items():
            self.linear(getattr(source, name), linear)

    def norm(self, source: Norm, part: NormPart) -> None:
        """Fills gain and bias of a norm."""
        part.gain[...] = self._floats(source.gain, part.gain.shape)
        if part.bias is not None:
            part.bias[...] = self._floats(source.bias, part.bias.shape)

    def linear(self, source: Linear, part: LinearPart) -> None:
        """Fills weights and biases of the linear layers that are packed as one."""
        weights = _several(part.weight)
        count, columns = sum(map(len, weights)), places(part.inputs, weights[0].shape[1])
        rows = places(part.outputs, count)
        outputs, inputs = padded(len(rows)), len(columns)
        if (source.outputs, source.inputs, source.kind) != (outputs, inputs, KINDS["float32"]):
            raise ValueError(f"it has {source.inputs} inputs and {source.outputs} outputs for {inputs} and {outputs}")
        panels = self._floats(source.weight, (outputs // PANEL, inputs, PANEL))
        rounded_up = panels.swapaxes(1, 2).reshape(outputs, inputs)
        real, kept = np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0)
        ends = np.cumsum([*map(len, weights)]).tolist()
        for weight, end in zip(weights, ends, strict=True):
            weight[...] = rounded_up[np.ix_(real[end - len(weight) : end], kept)]
        if part.bias is not None:
            whole = self._floats(source.bias, (outputs,))[real]
            for bias, end in zip(_several(part.bias), ends, strict=True):
                bias[...] = whole[end - len(bias) : end]

    def table(self, address: int | None, table: Floats, name: str) -> None:
        """Fills a table, whose rows have padding where they are states."""
        if name.endswith(("table", "positions", "segments")):
            rows = self._floats(address, (len(table), padded(table.shape[1])))
            table[...] = rows[:, : table.shape[1]]
        else:
            table[...] = self._floats(address, table.shape)

    def _floats(self, address: int | None, shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns the array of an image at an address."""
        size = 4 * int(np.prod(shape))
        if address is None or self._sizes.get(address, -1) < size:
            raise ValueError(f"it has no array of the {size} bytes that the model has")
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), shape)


def _several(arrays: Floats | Sequence[Floats]) -> Sequence[Floats]:
    return [arrays] if isinstance(arrays, np.ndarray) else arrays


def _of_norms(norms: Iterable[NormPart]) -> Iterator[Floats]:
    for norm in norms:
        yield norm.gain
        if norm.bias is not None:
            yield norm.bias


def _of_linear(part: LinearPart) -> Iterator[Floats]:
    yield from _several(part.weight)
    if part.bias is not None:
        yield from _several(part.bias)
