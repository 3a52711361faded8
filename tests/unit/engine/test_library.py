"""The library that is loaded is of these sources, or one line says why not; its kernels compute what torch does."""

import ctypes
import math
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_float, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from clearhead.engine import build, library
from clearhead.engine.library import Activation, Linear, Norm
from clearhead.engine.weights.image import Image, LayerParts, LinearPart, ModelParts, group
from clearhead.engine.weights.packing import Weights, from_bfloat16, rounded_in_groups, rounded_to_bytes
from clearhead.errors import ModelError, UsageError
from tests.native import KERNELS, NATIVE


class Product(Structure):
    """``ch_product``."""

    _fields_ = [
        ("w", POINTER(Linear)),
        *((name, c_void_p) for name in ("x", "bytes", "byte_scale", "y", "residual")),
        *((name, c_int) for name in ("rows", "x_stride", "y_stride", "then")),
        ("offsets", c_void_p),
    ]


class Attention(Structure):
    """``ch_attention``."""

    _fields_ = [
        *((name, c_void_p) for name in ("keys", "values", "slots")),
        *((name, c_size_t) for name in ("slot_stride", "position_stride", "head_stride")),
        *((name, c_int) for name in ("heads", "sharing", "head", "length", "position")),
        ("left", c_void_p),
        ("right", c_void_p),
        ("scale", c_float),
        *((name, c_int) for name in ("queries", "growth", "first_head")),
        *((name, c_size_t) for name in ("q_stride", "y_stride")),
        *((name, c_void_p) for name in ("key_bytes", "value_bytes", "key_scales", "value_scales")),
    ]


class Kernels(Structure):
    """``ch_kernels``."""

    _fields_ = [
        ("name", c_char_p),
        ("product", CFUNCTYPE(None, POINTER(Product), c_int, c_int)),
        ("quantize", CFUNCTYPE(c_float, c_void_p, c_int, c_void_p)),
        ("normalize", CFUNCTYPE(None, POINTER(Norm), c_void_p, c_int, c_int, c_void_p)),
        ("unit_rms", CFUNCTYPE(None, c_void_p, c_int)),
        ("attend", CFUNCTYPE(None, POINTER(Attention), c_void_p, c_void_p, c_void_p)),
        ("gate", CFUNCTYPE(None, c_int, c_void_p, c_int, c_void_p)),
        ("softmax", CFUNCTYPE(None, c_void_p, c_int)),
        ("log_sum_exp", CFUNCTYPE(c_float, c_void_p, c_int)),
        ("top", CFUNCTYPE(None, c_void_p, c_int, c_int, c_void_p, c_void_p)),
        ("round_groups", CFUNCTYPE(c_float, c_void_p, c_int, c_void_p, c_void_p)),
        ("round_signed", CFUNCTYPE(c_float, c_void_p, c_int, c_void_p)),
        ("attend_bytes", CFUNCTYPE(None, POINTER(Attention), c_void_p, c_void_p, c_void_p)),
    ]


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    if fault := library.fault():
        pytest.skip(fault)
    return Kernels.from_address(library.library().ch_kernels_of(request.param.encode()))


@pytest.fixture
def fresh() -> Iterator[None]:
    library._opened.cache_clear()
    yield
    library._opened.cache_clear()


def randoms(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


class Packed(Image):
    """An image with one layer to look at."""

    @property
    def linear(self) -> Linear:
        return self.model.decoder[0].up


def image_of(part: LinearPart, weights: Any) -> Packed:
    sizes = {"d_model": 16, "d_ff": 16, "heads": 1, "kv_heads": 1, "vocab": 1, "src_vocab": 1, "max_len": 1}
    head = LinearPart(randoms(1, 16), None, (1, 1), group(16))
    return Packed(ModelParts(sizes, Activation.NONE, 1.0, [LayerParts({}, {"up": part})], head), weights)


REFERENCES: dict[str, Any] = {
    "none": lambda x: x,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    **{name: getattr(functional, name) for name in ("relu", "gelu", "silu", "sigmoid", "tanh")},
}


@NATIVE
@pytest.mark.parametrize("weights", get_args(Weights))
@pytest.mark.parametrize("sizes", [(7, 5), (16, 16), (33, 100), (256, 130)], ids=str)
def test_products(kernels: Kernels, sizes: tuple[int, int], weights: Any) -> None:
    inputs, outputs = sizes
    weight, bias = randoms(outputs, inputs), randoms(outputs)
    image = image_of(LinearPart(weight, bias, group(outputs), group(inputs)), weights)
    linear = image.linear
    for rows in range(1, 18):
        x, residual = np.zeros((rows, linear.inputs), np.float32), randoms(rows, linear.outputs)
        x[:, :inputs] = randoms(rows, inputs)
        rounded, scale, offsets = round_rows(kernels, weights, x)
        for name, reference in REFERENCES.items():
            y = np.zeros((rows, linear.outputs), np.float32)
            arrays = [array.ctypes.data for array in (x, rounded, scale, y, residual)]
            sizes = rows, linear.inputs, linear.outputs, Activation[name.upper()]
            job = Product(ctypes.pointer(linear), *arrays, *sizes, offsets.ctypes.data)
            kernels.product(job, 0, linear.outputs // 16)
            sums = exact(x[:, :inputs], weight, weights) + torch.from_numpy(bias)
            expected = reference(sums) + torch.from_numpy(residual[:, :outputs])
            torch.testing.assert_close(torch.from_numpy(y[:, :outputs]), expected, rtol=1e-5, atol=2e-5)


def round_rows(
    kernels: Kernels, weights: str, x: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
    """Inputs as the product of such weights reads them: bytes, scales and offsets."""
    rows, inputs = x.shape
    groups = -(-inputs // 32)
    scale, offsets = np.zeros(rows, np.float32), np.zeros((rows, groups), np.int32)
    rounded = np.full((rows, 32 * groups if weights == "int4" else inputs), 9, np.uint8)
    for row in range(rows):
        if weights == "int4":
            arrays = [array[row].ctypes.data for array in (rounded, offsets)]
            scale[row] = kernels.round_groups(x[row].ctypes.data, inputs, *arrays)
        else:
            scale[row] = kernels.quantize(x[row].ctypes.data, inputs, rounded[row].ctypes.data)
    return rounded, scale, offsets


@NATIVE
def test_whole_numbers_of_4_bits_are_summed_exactly(kernels: Kernels) -> None:
    """With scales of 1 every sum is a whole number, the largest that there are among them."""
    draw = np.random.default_rng(0)
    x = draw.integers(-127, 128, (5, 96)).astype(np.float32)
    weight = draw.integers(-8, 8, (32, 96)).astype(np.float32)
    x[:2], weight[:2] = [[127], [-127]], [[-8], [7]]
    x[:, ::32], weight[:, ::32] = 127, -8
    image = image_of(LinearPart(weight, None, group(32), group(96)), "int4")
    rounded, scale, offsets = round_rows(kernels, "int4", x)
    assert scale.tolist() == [1] * 5
    assert np.array_equal(rounded.view(np.int8), x)
    y = np.zeros((5, 32), np.float32)
    arrays = [array.ctypes.data for array in (x, rounded, scale, y)]
    job = Product(ctypes.pointer(image.linear), *arrays, None, 5, 96, 32, Activation.NONE, offsets.ctypes.data)
    kernels.product(job, 0, 2)
    assert np.array_equal(y, x @ weight.T)


def exact(x: NDArray[np.float32], weight: NDArray[np.float32], weights: str) -> torch.Tensor:
    """The product as it must be, of weights that are rounded as their kind has it, and inputs where those are too."""
    match weights:
        case "int8":
            x, weight = (scale[:, None] * steps for steps, scale in map(rounded_to_bytes, (x, weight)))
        case "bfloat16":
            weight = torch.from_numpy(weight).to(torch.bfloat16).float().numpy()
        case "int4":
            steps, scale = rounded_to_bytes(x)
            numbers, halves = rounded_in_groups(weight)
            wide = (from_bfloat16(halves)[:, :, None] * numbers).reshape(len(weight), -1)
            x, weight = scale[:, None] * steps, wide[:, : x.shape[1]]
    return (torch.from_numpy(x).double() @ torch.from_numpy(weight).double().T).float()


@NATIVE
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_norms_softmax_and_rankings(kernels: Kernels, size: int) -> None:
    x, y, whole = 3 * randoms(size) + 2, np.full(112, 9, np.float32), -(-size // 16) * 16
    gain, bias = randoms(size, 1)[:, 0].copy(), randoms(size)
    tensor = torch.from_numpy(x)
    for kind, expected in (
        (1, functional.layer_norm(tensor, (size,), torch.from_numpy(gain), torch.from_numpy(bias), 1e-5)),
        (2, functional.rms_norm(tensor, (size,), torch.from_numpy(gain), 1e-5) + torch.from_numpy(bias)),
    ):
        kernels.normalize(
            Norm(gain.ctypes.data, bias.ctypes.data, 1e-5, kind), x.ctypes.data, size, whole, y.ctypes.data
        )
        torch.testing.assert_close(torch.from_numpy(y[:size]), expected, rtol=1e-4, atol=1e-5)
        assert not y[size:whole].any()
    y[:size] = x
    kernels.unit_rms(y.ctypes.data, size)
    torch.testing.assert_close(torch.from_numpy(y[:size]), functional.rms_norm(tensor, (size,)), rtol=1e-5, atol=1e-6)
    y[:size] = x
    kernels.softmax(y.ctypes.data, size)
    torch.testing.assert_close(torch.from_numpy(y[:size]), tensor.softmax(0), rtol=1e-5, atol=1e-7)
    assert kernels.log_sum_exp(x.ctypes.data, size) == pytest.approx(float(tensor.logsumexp(0)), rel=1e-6)
    count = min(size, 6)
    values, ids = np.zeros(6, np.float32), np.zeros(6, np.int32)
    kernels.top(x.ctypes.data, size, 6, values.ctypes.data, ids.ctypes.data)
    best = tensor.topk(count)
    assert values[:count].tolist() == best.values.tolist()
    assert ids.tolist() == best.indices.tolist() + [-1] * (6 - count)


@NATIVE
@pytest.mark.parametrize("at", [0, 5, 20])
def test_what_is_no_number_stays_none(kernels: Kernels, at: int) -> None:
    x, y, rounded = np.ones(32, np.float32), np.zeros(16, np.float32), np.zeros(32, np.uint8)
    x[at] = np.nan
    assert math.isnan(kernels.log_sum_exp(x.ctypes.data, 21))
    assert math.isnan(kernels.quantize(x.ctypes.data, 32, rounded.ctypes.data))
    for activation in ("relu", "gelu", "silu", "tanh"):
        kernels.gate(Activation[activation.upper()], x.ctypes.data, 16, y.ctypes.data)
        assert math.isnan(y[at % 16])


@NATIVE
def test_of_equals_the_first_is_best(kernels: Kernels) -> None:
    x = np.array([0, 2, 1] * 20, np.float32)
    x[5] = -math.inf
    values, ids = np.zeros(3, np.float32), np.zeros(3, np.int32)
    kernels.top(x.ctypes.data, len(x), 3, values.ctypes.data, ids.ctypes.data)
    assert ids.tolist() == [1, 4, 7]


@NATIVE
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "relu"])
def test_gates_over_all_of_their_range(kernels: Kernels, activation: str) -> None:
    x = np.concatenate([np.linspace(-120, 120, 160), np.linspace(-4, 4, 160)]).astype(np.float32)
    both, y = np.concatenate([x, np.ones_like(x)]), np.zeros_like(x)
    kernels.gate(Activation[activation.upper()], both.ctypes.data, len(x), y.ctypes.data)
    torch.testing.assert_close(torch.from_numpy(y), REFERENCES[activation](torch.from_numpy(x)), rtol=1e-6, atol=1e-6)


def round_lines(kernels: Kernels, lines: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Each line in whole numbers of 8 bits, and their scales; as numpy rounds them."""
    steps, scale = np.zeros(lines.shape, np.int8), np.zeros(lines.shape[:-1], np.float32)
    for at in np.ndindex(scale.shape):
        scale[at] = kernels.round_signed(lines[at].ctypes.data, lines.shape[-1], steps[at].ctypes.data)
    expected, scales = rounded_to_bytes(lines.reshape(-1, lines.shape[-1]))
    assert np.abs(steps.reshape(expected.shape) - expected).max() <= 1  # halves, by the factor's last digit
    assert np.allclose(scale.flatten(), scales)
    return steps, scale


@NATIVE
@pytest.mark.parametrize("queries", [1, 2, 5, 7])
@pytest.mark.parametrize("growth", [0, 1])
@pytest.mark.parametrize("length", [1, 4, 18])
@pytest.mark.parametrize("head", [16, 48, 64, 144])
def test_attention_over_slots(kernels: Kernels, head: int, length: int, growth: int, queries: int) -> None:
    heads, sharing, slots, capacity, position = 4, 2, 3, 24, 2
    q, keys, values = (randoms(*shape) for shape in ((queries, heads, head), *[(slots, 2, capacity, head)] * 2))
    table = np.random.default_rng(length).integers(slots, size=capacity).astype(np.int32)
    left, right, y, scores = randoms(heads), randoms(heads), np.zeros_like(q), np.zeros(400, np.float32)
    arrays = [array.ctypes.data for array in (keys, values, table)]
    strides = (2 * capacity * head, head, capacity * head)
    slopes = left.ctypes.data, right.ctypes.data
    several = queries, growth, 0, heads * head, heads * head
    job = Attention(*arrays, *strides, heads, sharing, head, length, position, *slopes, 0.3, *several)
    kernels.attend(job, q.ctypes.data, y.ctypes.data, scores.ctypes.data)
    chosen = [torch.from_numpy(part[table, :, range(capacity)]).transpose(0, 1) for part in (keys, values)]
    k, v = (part.repeat_interleave(sharing, 0) for part in chosen)  # heads length head
    for i in range(queries):
        seen = length + i * growth
        back = position + i - torch.arange(seen)
        penalty = torch.from_numpy(left)[:, None] * back.clamp(min=0)
        penalty += torch.from_numpy(right)[:, None] * -back.clamp(max=0)
        weights = ((torch.from_numpy(q[i])[:, None] * k[:, :seen]).sum(-1) * 0.3 - penalty).softmax(-1)
        expected = (weights[..., None] * v[:, :seen]).sum(1)
        torch.testing.assert_close(torch.from_numpy(y[i]), expected, rtol=1e-4, atol=1e-5)
        job.queries, job.length, job.position, alone = 1, seen, position + i, np.zeros_like(y[i])
        kernels.attend(job, q[i].ctypes.data, alone.ctypes.data, scores.ctypes.data)
        assert np.array_equal(alone, y[i])  # no query depends on its company
    job.first_head, job.heads, part = 1, 3, np.zeros_like(q[0])
    kernels.attend(job, q[-1].ctypes.data, part.ctypes.data, scores.ctypes.data)
    assert np.array_equal(part[1:3], y[-1, 1:3])
    assert not part[[0, 3]].any()


@NATIVE
@pytest.mark.parametrize("length", [1, 3, 4, 18])
@pytest.mark.parametrize("head", [16, 48, 64, 144])
def test_attention_over_keys_and_values_of_8_bits(kernels: Kernels, head: int, length: int) -> None:
    heads, sharing, slots, capacity = 4, 2, 3, 20
    q, keys = randoms(heads, head), randoms(slots, 2, capacity, head)
    values = np.ascontiguousarray(2 * keys[::-1])  # others, with other scales
    table = np.random.default_rng(length).integers(slots, size=length).astype(np.int32)
    y, scores = np.zeros_like(q), np.zeros(400, np.float32)
    rounded = [round_lines(kernels, part) for part in (keys, values)]
    bytes_and_scales = [array.ctypes.data for pair in zip(*rounded, strict=True) for array in pair]
    strides = (2 * capacity * head, head, capacity * head)
    left, right = randoms(heads), randoms(heads)
    several = 1, 1, 0, heads * head, heads * head
    sizes = heads, sharing, head, length, 2, left.ctypes.data, right.ctypes.data, 0.3
    job = Attention(None, None, table.ctypes.data, *strides, *sizes, *several, *bytes_and_scales)
    kernels.attend_bytes(job, q.ctypes.data, y.ctypes.data, scores.ctypes.data)
    chosen = [
        torch.from_numpy((steps * scale[..., None])[table, :, range(length)]).transpose(0, 1)
        for steps, scale in rounded
    ]
    k, v = (part.repeat_interleave(sharing, 0) for part in chosen)  # heads length head
    back = 2 - torch.arange(length)
    penalty = torch.from_numpy(left)[:, None] * back.clamp(min=0)
    penalty += torch.from_numpy(right)[:, None] * -back.clamp(max=0)
    weights = ((torch.from_numpy(q)[:, None] * k).sum(-1) * 0.3 - penalty).softmax(-1)
    torch.testing.assert_close(torch.from_numpy(y), (weights[..., None] * v).sum(1), rtol=1e-4, atol=1e-5)


@NATIVE
def test_the_best_instructions_are_taken_unless_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEARHEAD_ENGINE", raising=False)
    assert (library.fault(), library.instructions()) == ("", KERNELS[-1])
    monkeypatch.setenv("CLEARHEAD_ENGINE", "portable")
    assert library.instructions() == "portable"
    other = next(name for name in ("neon", "avx512") if name not in KERNELS)
    monkeypatch.setenv("CLEARHEAD_ENGINE", other)
    with pytest.raises(UsageError, match=rf"^CLEARHEAD_ENGINE = '{other}': this processor has portable"):
        library.instructions()


def test_off_and_unknown_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    assert library.fault() == "CLEARHEAD_ENGINE is off"
    monkeypatch.setenv("CLEARHEAD_ENGINE", "sse")
    with pytest.raises(UsageError, match=r"^CLEARHEAD_ENGINE = 'sse': must be portable, avx2, avx512, neon or off$"):
        library.fault()


@pytest.mark.usefixtures("fresh")
def test_a_library_that_is_missing_stale_or_no_library_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLEARHEAD_ENGINE", raising=False)
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "libclearhead.so")
    monkeypatch.setattr(build, "STAMP", tmp_path / "libclearhead.sha256")
    rebuild = "`python -m clearhead.engine.build` builds it"
    assert library.fault() == f"no native library in this installation; {rebuild}"
    with pytest.raises(ModelError, match=r"^the native engine: no native library in this installation; "):
        library.library()
    build.LIBRARY.write_text("nothing that loads")
    for digest, fault in (
        ("another", f"the native library is older than its sources; {rebuild}"),
        (build.digest(), "the native library cannot be loaded: "),
    ):
        library._opened.cache_clear()
        build.STAMP.write_text(digest)
        assert library.fault().startswith(fault)


@NATIVE
@pytest.mark.usefixtures("fresh")
def test_another_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEARHEAD_ENGINE", raising=False)
    monkeypatch.setattr(library, "ABI", 0)
    assert library.fault().startswith("the native library has another interface than these modules; ")
