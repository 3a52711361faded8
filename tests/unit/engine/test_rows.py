"""A native model computes what the model computes, whatever it is made of, and no row depends on another."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearhead.engine.rows import NativeModel, Rows
from clearhead.engine.weights.packing import Weights
from clearhead.errors import ModelError
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer
from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import RotaryScalingConfig
from tests.native import KERNELS, NATIVE, configs, native
from tests.small import assert_near, random_rows, shake, small, small_gpt

pytestmark = NATIVE
RELAXED = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def ints(*values: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, dtype=np.int32)


def drive(model: Transformer, rows: Rows, sources: list[list[int]], targets: list[list[int]]) -> None:
    """Compares logits of every step with those of whole targets, which are of one length."""
    rows.join_sources(sources)
    with torch.inference_mode():
        wholes = [model(torch.tensor([s]), torch.tensor([t]))[0] for s, t in zip(sources, targets, strict=True)]
    for step, pieces in enumerate(zip(*targets, strict=True)):
        logits = torch.from_numpy(rows.extend(ints(*pieces), np.ones(len(pieces), dtype=np.int32)))
        assert_near(logits, torch.stack([whole[step] for whole in wholes]), 1e-4)


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@RELAXED
@given(configs(), st.sampled_from(["all", "decoder", "none"]), st.sampled_from([7, 13, 40]))
def test_a_translator_of_any_parts(
    kernels: str, parts: tuple[dict[str, Any], dict[str, Any]], tie: str, vocab: int
) -> None:
    sizes, block = parts
    model = small(vocab_size=vocab, block=BlockConfig(**block), **sizes, tie=tie)
    draw = torch.Generator().manual_seed(1)
    sources = [torch.randint(vocab, (length,), generator=draw).tolist() for length in (1, 5, 17)]
    drive(model, native(model, kernels).rows(), sources, torch.randint(vocab, (3, 4), generator=draw).tolist())


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@RELAXED
@given(configs(), st.booleans(), st.sampled_from([7, 40]))
def test_a_language_model_of_any_parts(
    kernels: str, parts: tuple[dict[str, Any], dict[str, Any]], tie: bool, vocab: int
) -> None:
    sizes, block = parts
    torch.manual_seed(0)
    config = GPTConfig(**sizes, n_layers=2, max_seq_len=64, dropout=0.0, tie=tie, block=BlockConfig(**block))
    model = shake(GPT(config, vocab_size=vocab)).eval()
    text = torch.randint(vocab, (1, 37), generator=torch.Generator().manual_seed(1))
    rows = native(model, kernels).rows()
    rows.join_empty(1)
    with torch.inference_mode():
        expected = model(text)[0]
    first = torch.from_numpy(rows.extend(text[0, :30].to(torch.int32).numpy(), ints(30), every=True))
    assert_near(first, expected[:30], 1e-4)
    for at in range(30, 37):
        assert_near(torch.from_numpy(rows.extend(ints(int(text[0, at])), ints(1)))[0], expected[at], 1e-4)


@pytest.mark.parametrize("kind", ["linear", "llama3", "yarn"])
def test_slowed_rotation(kind: Any) -> None:
    scaling = RotaryScalingConfig(kind=kind, factor=4.0, original_max_seq_len=8)
    model = small_gpt(position="rotary", rotary_scaling=scaling, max_seq_len=32)
    text = torch.randint(13, (1, 32))
    rows = native(model).rows()
    rows.join_empty(1)
    with torch.inference_mode():
        assert_near(
            torch.from_numpy(rows.extend(text[0].to(torch.int32).numpy(), ints(32), every=True)), model(text)[0], 1e-4
        )


@pytest.mark.parametrize(
    ("weights", "cache"), [*((kind, "float32") for kind in get_args(Weights)), ("float32", "int8")]
)
@pytest.mark.parametrize("kernels", KERNELS)
def test_rows_alone_are_rows_in_company(kernels: str, weights: Any, cache: Any) -> None:
    model = native(
        small(d_model=80, d_ff=112, n_heads=4, n_kv_heads=2, block=BlockConfig(activation="geglu")), kernels, weights
    )
    sources = random_rows([3, 9, 1, 14, 9, 2, 5, 5, 30, 4, 6, 7, 8, 2, 2, 11, 12])  # 17 rows
    pieces = (
        torch.randint(4, 13, (4, len(sources)), generator=torch.Generator().manual_seed(2)).numpy().astype(np.int32)
    )
    model = model.holding(cache)
    company = model.rows()
    company.join_sources(sources)
    together = [company.extend(row, np.ones(len(row), dtype=np.int32)) for row in pieces]
    for count in (1, 2, 3, 5, 8, 16):
        rows = model.rows()
        rows.join_sources(sources[-count:])
        for row, expected in zip(pieces, together, strict=True):
            logits = rows.extend(row[-count:].copy(), np.ones(count, dtype=np.int32))
            assert np.array_equal(logits, expected[-count:]), (count, np.abs(logits - expected[-count:]).max())


@pytest.mark.parametrize("kernels", KERNELS[1:])
def test_bytes_are_summed_exactly_by_every_set_of_instructions(kernels: str) -> None:
    model = small(d_model=64, d_ff=256)
    for weight in model.parameters():
        weight.data.sign_().mul_(0.5)  # every weight is 127 or -127 steps: the largest sums there are
    both = [native(model, name, "int8").rows() for name in ("portable", kernels)]
    for rows in both:
        rows.join_sources([[5, 6, 7]])
    assert np.allclose(*(rows.extend(ints(4), ints(1)) for rows in both), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("weights", "off"), [("bfloat16", 0.01), ("int8", 0.04), ("int4", 0.3)])
@pytest.mark.parametrize("sizes", [(64, 128, 4, 13), (18, 5, 1, 7)], ids=str)
def test_other_numbers_are_near_float32(sizes: tuple[int, ...], weights: Any, off: float) -> None:
    (d_model, d_ff, heads, vocab), logits = sizes, []
    model = small(vocab_size=vocab, d_model=d_model, d_ff=d_ff, n_heads=heads)
    for kind in ("float32", weights):
        by_kernels = []
        for kernels in KERNELS:
            rows = native(model, kernels, kind).rows()
            rows.join_sources([[4, 5, 6, 2, 3, 6, 4, 4, 5], [6, 5, 4, 2]])
            by_kernels.append(torch.from_numpy(rows.extend(ints(4, 5), ints(1, 1))))
        assert_near(torch.stack(by_kernels), by_kernels[0].expand(len(KERNELS), -1, -1), 1e-2)
        logits.append(by_kernels[0])
    assert_near(logits[1], logits[0], off)
    assert not torch.equal(*logits)


def test_rows_come_and_go_while_others_are_on_their_way() -> None:
    model = small()
    rows, alone = native(model).rows(), native(model).rows()
    sources = random_rows([4, 7, 3], seed=5)
    rows.join_sources(sources[:2])
    rows.extend(ints(1, 1), ints(1, 1))
    rows.join_sources(sources[2:], copies=2)
    assert rows.lengths == [1, 1, 0, 0]
    alone.join_sources(sources[1:2])
    alone.extend(ints(1), ints(1))
    rows.extend(ints(6, 1, 1), ints(0, 1, 1, 1))
    rows.keep(ints(3, 1, 1))
    assert rows.lengths == [1, 2, 2]
    alone.extend(ints(6), ints(1))
    for piece in (8, 9, 10):
        logits = rows.extend(ints(5, piece, piece + 1), ints(1, 1, 1))
        assert np.array_equal(logits[1], alone.extend(ints(piece), ints(1))[0])
    assert not np.array_equal(logits[1], logits[2])
    assert rows.lengths == [4, 5, 5]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("heads", "d_model"), [(1, 7), (4, 80)])
def test_a_cache_of_8_bits_is_near_one_of_floats(heads: int, d_model: int, kernels: str) -> None:
    config = {"position": "alibi", "max_seq_len": 96, "n_heads": heads, "d_model": d_model}
    gpt, text = small_gpt(**config), np.random.default_rng(1).integers(13, size=90).astype(np.int32)
    for layer in gpt.layers:
        layer.attn.q_proj.weight.data *= 0.1  # random scores are so large that a softmax jumps from key to key
    model = native(gpt, kernels)
    logits, at_once = [], model.holding("int8").rows()
    for held in (model, model.holding("int8")):
        rows = held.rows()
        rows.join_empty(1)
        steps = [rows.extend(text[at : at + 1], ints(1))[0] for at in range(len(text))]
        logits.append(torch.from_numpy(np.stack(steps)))
    assert_near(logits[1], logits[0], 0.06)
    assert not torch.equal(*logits)
    at_once.join_empty(1)
    assert np.array_equal(at_once.extend(text, ints(len(text)), every=True), logits[1])
    with pytest.raises(ModelError, match=r"^a cache of kind 2: must be 0 or 1$"):
        NativeModel(model.image.holding(2), kernels).rows()


@pytest.mark.parametrize(
    ("seed", "cache"), [(0, "float32"), (1, "float32"), (2, "float32"), (3, "float32"), (1, "int8")]
)
def test_shared_pasts_are_those_of_copies(seed: int, cache: Any) -> None:
    """Any order of growing, going back, copying and dropping gives what texts read anew give."""
    draw = np.random.default_rng(seed)
    model = native(small_gpt(max_seq_len=64, position="rotary")).holding(cache)
    rows, texts = model.rows(), [[int(draw.integers(13))] for _ in range(4)]
    rows.join_empty(4)
    rows.extend(ints(*(text[0] for text in texts)), ints(1, 1, 1, 1))
    for _ in range(25):
        kept = draw.integers(len(texts), size=draw.integers(1, 7))
        rows.keep(kept.astype(np.int32))
        texts = [texts[row].copy() for row in kept]
        back = np.array([draw.integers(len(text)) if draw.random() < 0.3 else 0 for text in texts], dtype=np.int32)
        rows.back(back)
        texts = [text[: len(text) - count] for text, count in zip(texts, back, strict=True)]
        counts = np.array([draw.integers(4) if len(text) < 55 else 0 for text in texts], dtype=np.int32)
        new = [draw.integers(13, size=count).tolist() for count in counts]
        logits = rows.extend(ints(*(piece for pieces in new for piece in pieces)), counts)
        texts = [text + pieces for text, pieces in zip(texts, new, strict=True)]
        grown, fresh = [text for text, count in zip(texts, counts, strict=True) if count], model.rows()
        if grown:
            fresh.join_empty(len(grown))
            again = fresh.extend(ints(*(piece for text in grown for piece in text)), ints(*map(len, grown)))
            assert np.allclose(logits, again, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_is_one_line() -> None:
    model = native(small())
    rows = model.rows()
    with pytest.raises(ModelError, match=r"^piece 13: must be from 0 to 12$"):
        rows.join_sources([[4, 13]])
    with pytest.raises(ModelError, match=r"^a sequence of 65 pieces: must be at least 1 and at most max_seq_len = 64$"):
        rows.join_sources([[4] * 65])
    with pytest.raises(ModelError, match=r"^a sequence of 0 pieces: must be at least 1"):
        rows.join_sources([[4], []])
    with pytest.raises(ModelError, match=r"^rows of a model with an encoder need sources$"):
        rows.join_empty(1)
    assert len(rows) == 0
    rows.join_sources([[4]])
    with pytest.raises(ModelError, match=r"^piece -1: must be from 0 to 12$"):
        rows.extend(ints(-1), ints(1))
    with pytest.raises(ModelError, match=r"^a sequence of 65 pieces: must be at most max_seq_len = 64$"):
        rows.extend(ints(*[4] * 65), ints(65))
    with pytest.raises(ModelError, match=r"^1 pieces back in row 0: must be from 0 to 0$"):
        rows.back(ints(1))
    with pytest.raises(ModelError, match=r"^row 1: must be from 0 to 0$"):
        rows.keep(ints(0, 1))
    with pytest.raises(ValueError, match=r"^2 pieces and 1 counts"):
        rows.extend(ints(4, 4), ints(1))
    rows.keep(ints())
    assert len(rows) == 0
