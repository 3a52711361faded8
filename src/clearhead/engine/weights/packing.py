"""Weights as the native engine reads them: rounded, and in panels of 16 outputs, as ``native/clearhead.h`` has it."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weights = Literal["float32", "bfloat16", "int8", "int4"]

PANEL = 16
GROUP = 32
"""Inputs that share a scale in int4."""
BLOCK = 1 << 18
"""Weights that are packed at a time: what rounding needs besides stays in the cache."""

Arrays = tuple[NDArray[np.generic], ...]
"""Weight, and then scale and sums where a kind has them; panels come first in each."""


def to_bfloat16(array: Floats) -> NDArray[np.uint16]:
    """Rounds to the upper halves of float32, of two as near ones to the even; what is no number stays none."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    return np.where(np.isnan(array), bits >> 16 | 0x40, rounded).astype(np.uint16)


def from_bfloat16(halves: NDArray[np.uint16]) -> Floats:
    """Returns what the halves stand for."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def rounded_to_bytes(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Rounds each row to whole numbers from -127 to 127 times a scale of its own; returns numbers and scales."""
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    factor = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    steps = np.nan_to_num(weight * factor[:, None])  # a scale that is NaN says enough
    return np.rint(steps).clip(-127, 127).astype(np.int8), scale


def rounded_in_groups(weight: Floats) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """Rounds each group of 32 inputs to whole numbers from -8 to 7 times a scale of its own, in bfloat16.

    The number that is largest without its sign becomes -8, whose range is one step longer than that of 7.

    Returns:
        Numbers [outputs, groups, 32] and scales [outputs, groups].
    """
    outputs, inputs = weight.shape
    groups = -(-inputs // GROUP)
    grouped = np.pad(weight, ((0, 0), (0, groups * GROUP - inputs))).reshape(outputs, groups, GROUP)
    low, high = grouped.min(axis=2), grouped.max(axis=2)
    scale = to_bfloat16(np.where(high > -low, high, low) / np.float32(-8) + np.float32(0))  # no -0
    wide = from_bfloat16(scale)
    factor = np.divide(1, wide, out=np.zeros_like(wide), where=wide != 0)
    steps = np.nan_to_num(grouped * factor[:, :, None])  # a scale that is NaN says enough
    return np.rint(steps).clip(-8, 7).astype(np.int8), scale


def _float32(block: Floats) -> Arrays:
    return (_by_input(block),)


def _bfloat16(block: Floats) -> Arrays:
    return (to_bfloat16(_by_input(block)),)


def _int8(block: Floats) -> Arrays:
    numbers, scale = rounded_to_bytes(block)
    panels = len(block) // PANEL
    fours = numbers.reshape(panels, PANEL, -1, 4).swapaxes(1, 2)
    sums = [part.sum(axis=1, dtype=np.int32).reshape(panels, PANEL) for part in (numbers, -np.minimum(numbers, 0))]
    return fours, scale.reshape(panels, PANEL), np.stack(sums, axis=1)


def _int4(block: Floats) -> Arrays:
    numbers, scale = rounded_in_groups(block)
    panels, groups = len(block) // PANEL, scale.shape[1]
    halves = (numbers + 8).astype(np.uint8).reshape(panels, PANEL, groups, GROUP // 8, 2, 4)
    both = halves[..., 0, :] | halves[..., 1, :] << 4  # panels outputs groups lines 4
    lines = both.transpose(0, 2, 3, 1, 4).reshape(panels, groups, GROUP // 8, 4 * PANEL)
    return lines, scale.reshape(panels, PANEL, groups).swapaxes(1, 2)


PACK: dict[Weights, Callable[[Floats], Arrays]] = {
    "float32": _float32,
    "bfloat16": _bfloat16,
    "int8": _int8,
    "int4": _int4,
}
"""By kind: packs rows of weights [16 n, inputs], both sizes with their padding."""


def _by_input(block: Floats) -> Floats:
    return block.reshape(-1, PANEL, block.shape[1]).swapaxes(1, 2)
