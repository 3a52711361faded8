"""Weights are rounded to the nearest number of their kind, and stand where ``native/clearhead.h`` says."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clearhead.engine.weights.packing import (
    GROUP,
    PACK,
    from_bfloat16,
    rounded_in_groups,
    rounded_to_bytes,
    to_bfloat16,
)


def randoms(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def test_bfloat16_is_rounded_as_pytorch_does() -> None:
    ties = np.arange(1 << 12, dtype=np.uint32) << 15 | np.uint32(0x3F000000)  # half way between two of them
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-40, 1e-45], dtype=np.float32)
    for values in (ties.view(np.float32), odd, randoms(1000), -randoms(30, 7) * 1e30):
        expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
        assert np.array_equal(from_bfloat16(to_bfloat16(values)), expected, equal_nan=True)


def test_no_number_of_any_bits_becomes_one() -> None:
    bits = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF800001], dtype=np.uint32)
    assert np.isnan(from_bfloat16(to_bfloat16(bits.view(np.float32)))).all()


def test_a_row_of_zeros_has_no_scale() -> None:
    steps, scale = rounded_to_bytes(np.array([[0, 0], [-1, 0.5]], dtype=np.float32))
    assert steps.tolist() == [[0, 0], [-127, 64]]
    assert scale.tolist() == [0, np.float32(1 / 127)]
    numbers, halves = rounded_in_groups(np.zeros((1, 40), dtype=np.float32))
    assert not numbers.any()
    assert not halves.any()


@pytest.mark.parametrize("inputs", [1, 16, 32, 80])
def test_groups_of_32_inputs_have_scales_of_their_own(inputs: int) -> None:
    weight = randoms(20, inputs) * np.geomspace(1, 1e6, inputs, dtype=np.float32)
    numbers, halves = rounded_in_groups(weight)
    groups = -(-inputs // GROUP)
    assert (numbers.shape, halves.shape) == ((20, groups, GROUP), (20, groups))
    assert (numbers.min(), numbers.max()) == (-8, 7) if inputs > 1 else (-8, -8)
    assert not numbers.reshape(20, -1)[:, inputs:].any()
    scale = np.abs(from_bfloat16(halves))
    for at in range(inputs):
        off = np.abs(numbers.reshape(20, -1)[:, at] * from_bfloat16(halves)[:, at // GROUP] - weight[:, at])
        assert (off <= 1.07 * scale[:, at // GROUP]).all()  # a step at the end without -8, and what bfloat16 rounds


def unpacked(kind: Any, arrays: tuple[NDArray[Any], ...], inputs: int) -> NDArray[Any]:
    """The numbers [outputs, inputs] that are packed, one after another as the layouts are written."""
    panels = len(arrays[0])
    numbers = np.zeros((16 * panels, inputs), dtype=np.float32)
    for output, at in np.ndindex(*numbers.shape):
        panel, lane = output // 16, output % 16
        match kind:
            case "float32":
                numbers[output, at] = arrays[0][panel, at, lane]
            case "bfloat16":
                numbers[output, at] = from_bfloat16(arrays[0][panel, at : at + 1, lane])[0]
            case "int8":
                numbers[output, at] = arrays[0][panel, at // 4, lane, at % 4] * arrays[1][panel, lane]
            case "int4":
                group, line, half = at // 32, at % 32 // 8, at % 8 // 4
                both = int(arrays[0][panel, group, line, 4 * lane + at % 4])
                scale = from_bfloat16(arrays[1][panel, group, lane : lane + 1])[0]
                numbers[output, at] = ((both >> 4 * half & 15) - 8) * scale
    return numbers


@pytest.mark.parametrize(("kind", "off"), [("float32", 0), ("bfloat16", 2**-8), ("int8", 0.015), ("int4", 0.5)])
def test_panels_hold_the_weights(kind: Any, off: float) -> None:
    weight = randoms(32, 48)
    packed = PACK[kind](weight)
    assert np.abs(unpacked(kind, packed, 48) - weight).max() <= off * np.abs(weight).max()
    sizes = {"float32": 4, "bfloat16": 2, "int8": 1, "int4": 0.5 * 64 / 48}  # whole groups of inputs
    assert packed[0].nbytes == 32 * 48 * sizes[kind]
