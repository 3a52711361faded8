"""The file ``model.bin`` of CTranslate2, binary version 6: named arrays, quantized where the format allows it.

Layout, little-endian: version, name and revision of the model's specification, count of arrays, then for each its name,
rank (one byte), sizes, type (one byte), bytes and content; count of aliases, then for each its name and the name of the
array that it stands for. A name is its length with the closing zero (two bytes), the name, and the zero. Integers are
four bytes unless said. Source: ``ctranslate2/specs/model_spec.py`` of version 4.8.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Quantization = Literal["float32", "float16", "bfloat16", "int8", "int8_float32"]
"""How weights are stored; both int8 forms store every row of a matrix in 8 bits and the rest in float32."""

Variables = dict[str, Tensor]
"""Arrays and scalars by CTranslate2's names; scalars have rank 0."""

_VERSION = 6
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)  # by number
_FLOATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Specification:
    """The class of CTranslate2 that reads the arrays."""

    name: str
    revision: int


TRANSFORMER = Specification("TransformerSpec", 7)
DECODER = Specification("TransformerDecoderSpec", 8)
ENCODER = Specification("TransformerEncoderSpec", 1)


def model_bin(specification: Specification, variables: Mapping[str, Tensor], quantize: Quantization) -> bytes:
    """Returns the content of ``model.bin``.

    Args:
        specification: whose arrays these are.
        variables: every one of its arrays; equal ones are written once.
        quantize: how matrices and vectors are stored; scalars keep their type.
    """
    arrays, aliases = _without_copies(variables)
    stored = {name: part for own in arrays for name, part in _stored(own, arrays[own], quantize).items()}
    parts = [
        struct.pack("<I", _VERSION),
        _name(specification.name),
        struct.pack("<II", specification.revision, len(stored)),
    ]
    for name in sorted(stored):
        parts += _array(name, stored[name])
    parts.append(struct.pack("<I", len(aliases)))
    for name in sorted(aliases):
        parts += (_name(name), _name(aliases[name]))
    return b"".join(parts)


def _without_copies(variables: Mapping[str, Tensor]) -> tuple[Variables, dict[str, str]]:
    """Divides into arrays and names that stand for an equal array, whose own name comes first in the alphabet."""
    arrays, aliases, firsts = Variables(), dict[str, str](), dict[bytes, list[str]]()
    for name in sorted(variables):
        value = variables[name].detach()
        alike = firsts.setdefault(_sketch(value), [])
        first = next((other for other in alike if value.ndim and _equal(arrays[other], value)), None)
        if first is None:
            arrays[name] = value
            alike.append(name)
        else:
            aliases[name] = first
    return arrays, aliases


def _sketch(value: Tensor) -> bytes:
    """What equal arrays have in common, read from a few of their numbers."""
    few = value.flatten()[:4].to(torch.float32)
    return repr((value.shape, value.dtype, few.tolist())).encode()


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.data_ptr() == second.data_ptr() or torch.equal(first, second)


def _stored(name: str, value: Tensor, quantize: Quantization) -> Variables:
    """Returns the arrays that are written for ``value``: its rows in 8 bits with their scales, or itself."""
    if value.ndim == 0 or not value.is_floating_point():
        return {name: value}
    if quantize in ("int8", "int8_float32"):
        if not name.endswith("/weight"):
            return {name: value.float()}
        largest = value.float().abs().amax(dim=1)
        largest = torch.where(largest == 0, 127.0, largest)
        scale = 127.0 / largest.clamp(min=127.0 / torch.finfo(torch.float32).max)
        return {name: (value.float() * scale[:, None]).round().to(torch.int8), f"{name}_scale": scale}
    return {name: value.to(_FLOATS[quantize])}


def _array(name: str, value: Tensor) -> tuple[bytes, ...]:
    shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    raw = value.contiguous().view(torch.uint8) if value.ndim else value[None].view(torch.uint8)
    content = np.ascontiguousarray(raw.numpy()).tobytes()
    return _name(name), shape, struct.pack("<BI", _TYPES.index(value.dtype), len(content)), content


def _name(name: str) -> bytes:
    raw = name.encode()
    return struct.pack("<H", len(raw) + 1) + raw + b"\0"
