"""Packed weights stand where ``native/clearhead.h`` says, at the beginning of a cache line, and padding is zero."""

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.engine.library import Activation, Linear
from clearhead.engine.weights.image import Image, LinearPart, ModelParts, group, padded

SIZES = {"d_model": 20, "d_ff": 3, "heads": 2, "kv_heads": 2, "vocab": 18, "src_vocab": 18, "max_len": 1}


def image_of(weights: Any, bias: bool = False) -> tuple[NDArray[np.float32], Image]:
    weight = np.arange(18 * 20, dtype=np.float32).reshape(18, 20) - 100
    own = np.arange(18, dtype=np.float32) if bias else None
    part = LinearPart(weight, own, (1, 1), group(20))
    return weight, Image(ModelParts(SIZES, Activation.RELU, 2.0, [], part), weights)


def read(address: int, dtype: Any, *shape: int) -> NDArray[Any]:
    assert address % 64 == 0
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(ctypes.string_at(address, size), dtype=dtype).reshape(shape)


def test_sizes_are_padded_to_whole_panels() -> None:
    _, image = image_of("float32")
    model = image.model
    assert [padded(size) for size in (1, 16, 17)] == [16, 16, 32]
    assert (model.width, model.inner, model.head_dim, model.head) == (32, 16, 10, 16)
    assert (image.logits, image.vocab, model.lm_head.inputs) == (32, 18, 32)


def test_floats_stand_in_panels_of_sixteen_outputs_by_input() -> None:
    weight, image = image_of("float32", bias=True)
    packed = read(image.model.lm_head.weight, np.float32, 2, 32, 16)
    for output in range(18):
        assert packed[output // 16, :20, output % 16].tolist() == weight[output].tolist()
    assert not packed[1, :, 2:].any()
    assert not packed[:, 20:].any()
    assert read(image.model.lm_head.bias, np.float32, 32).tolist() == [*range(18), *[0] * 14]


def test_bytes_stand_in_fours_and_times_their_scale_are_the_weights() -> None:
    weight, image = image_of("int8")
    linear: Linear = image.model.lm_head
    packed = read(linear.weight, np.int8, 2, 8, 16, 4)
    scale, sums = read(linear.scale, np.float32, 32), read(linear.sums, np.int32, 2, 2, 16)
    for output in range(18):
        steps = packed[output // 16, :, output % 16].flatten()
        assert sums[output // 16, 0, output % 16] == steps.sum(dtype=np.int32)
        assert sums[output // 16, 1, output % 16] == -steps[steps < 0].sum(dtype=np.int32)
        assert np.abs(steps[:20] * scale[output] - weight[output]).max() <= scale[output] / 2 * 1.001
        assert np.abs(steps).max() == 127
    assert not linear.bias


@pytest.mark.parametrize(("weights", "size"), [("float32", 4), ("bfloat16", 2), ("int8", 1), ("int4", 1)])
def test_a_tied_table_is_the_output_layer_itself(weights: Any, size: int) -> None:
    _, image = image_of(weights)
    model = image.model
    assert (model.src_table, model.tgt_table) == (model.lm_head.weight,) * 2
    assert (model.src_panels, model.tgt_panels) == (1, 1)
    assert image.nbytes == 32 * 32 * size + (3 * 32 * 4 if size == 1 else 0)  # scales and sums


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8", "int4"])
def test_layers_of_one_input_are_packed_as_one_in_blocks(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [np.random.default_rng(seed).standard_normal((20, 20), dtype=np.float32) for seed in range(3)]
    wholes = []
    for block, weight in ((1 << 18, np.concatenate(parts)), (1, parts)):
        monkeypatch.setattr("clearhead.engine.weights.image.BLOCK", block)
        image = Image(
            ModelParts(SIZES, Activation.RELU, 1.0, [], LinearPart(weight, None, group(10), group(10))), weights
        )
        wholes.append(image.arrays)
    for one, other in zip(*wholes, strict=True):
        assert np.array_equal(one, other)


def test_heads_are_padded_one_by_one() -> None:
    weight = np.arange(20 * 20, dtype=np.float32).reshape(20, 20)
    image = Image(ModelParts(SIZES, Activation.RELU, 1.0, [], LinearPart(weight, weight[0], group(10), group(10))))
    packed = read(image.model.lm_head.weight, np.float32, 2, 32, 16)
    assert packed[1, 16:26, 3].tolist() == weight[13, 10:].tolist()
    assert read(image.model.lm_head.bias, np.float32, 32).tolist() == [*range(10), *[0] * 6, *range(10, 20), *[0] * 6]
