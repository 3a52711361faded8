"""A native encoder computes what a BERT computes, whatever it is made of, and no text depends on another."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearhead.engine.loops.texts import States, encode, logits, portions
from clearhead.engine.rows import Ints
from clearhead.errors import ModelError
from clearhead.models.bert import BertClassifier, BertConfig, BertPretraining
from clearhead.models.pooling import EmbeddingConfig, pooled
from clearhead.nn.layer import BlockConfig
from tests.native import KERNELS, NATIVE, configs, native
from tests.small import assert_near, padded, shake

pytestmark = NATIVE
RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
Parts = tuple[dict[str, Any], dict[str, Any]]


def config_of(parts: Parts, **sizes: Any) -> BertConfig:
    plain = {"n_layers": 2, "max_seq_len": 48, "dropout": 0.0, "n_segments": 3}
    return BertConfig(**{**plain, **parts[0], **sizes}, block=BlockConfig(**parts[1]))


def small_bert(parts: Parts = ({}, {}), *, vocab: int = 40, **sizes: Any) -> BertPretraining:
    torch.manual_seed(0)
    sizes = {"d_model": 48, "d_ff": 80, "n_heads": 3, **sizes} if not parts[0] else sizes
    return shake(BertPretraining(config_of(parts, **sizes), vocab_size=vocab, nsp=False)).eval()  # type: ignore[return-value]


def drawn(lengths: list[int], vocab: int, segments: int) -> tuple[list[list[int]], list[list[int]]]:
    draw = np.random.default_rng(len(lengths))
    return tuple([draw.integers(top, size=length).tolist() for length in lengths] for top in (vocab, segments))  # type: ignore[return-value]


def flat(rows: list[list[int]]) -> Ints:
    return np.array([number for row in rows for number in row], dtype=np.int32)


def sizes_of(rows: list[list[int]]) -> Ints:
    return np.array([*map(len, rows)], dtype=np.int32)


def packed(states: torch.Tensor, rows: list[list[int]]) -> torch.Tensor:
    return torch.cat([each[: len(row)] for each, row in zip(states, rows, strict=True)])


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@RELAXED
@given(configs(), st.sampled_from([7, 40]), st.sampled_from([None, 1, 3]), st.sampled_from([1, 2]))
def test_a_masked_model_of_any_parts(
    kernels: str, parts: Parts, vocab: int, segments: int | None, threads: int
) -> None:
    """Texts packed without padding have the states and logits that PyTorch gives to a padded batch of them."""
    model = small_bert(parts, vocab=vocab, n_segments=segments or 1)
    texts, marks = drawn([1, 9, 48, 3, 3, 20], vocab, segments or 1)
    ids, real = padded(texts)
    with torch.inference_mode():
        given_marks = None if segments is None else padded(marks)[0]
        expected = packed(model.bert(ids, mask=real, segments=given_marks), texts)
        head = model.mlm_head(expected)
    engine = native(model, kernels)
    states = encode(engine, flat(texts), sizes_of(texts), None if segments is None else flat(marks), threads=threads)
    assert_near(torch.from_numpy(states.packed[:, : model.config.d_model]), expected, 1e-4)
    assert_near(torch.from_numpy(logits(engine, states.packed, threads=threads)), head, 1e-4)


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@RELAXED
@given(configs(), st.sampled_from(["sequence", "regression", "token"]), st.sampled_from(["first", "mean"]))
def test_a_classifier_of_any_parts(kernels: str, parts: Parts, kind: Any, pooling: Any) -> None:
    torch.manual_seed(0)
    labels = 1 if kind == "regression" else 5
    config = config_of(parts)
    model = shake(BertClassifier(config, vocab_size=13, kind=kind, n_labels=labels, pooling=pooling)).eval()
    texts, marks = drawn([4, 17, 1], 13, 3)
    ids, real = padded(texts)
    with torch.inference_mode():
        expected = model(ids, mask=real, segments=padded(marks)[0])
    engine = native(model, kernels)
    states = encode(engine, flat(texts), sizes_of(texts), flat(marks))
    found = logits(engine, states.packed if kind == "token" else states.pooled(pooling))
    assert_near(torch.from_numpy(found), packed(expected, texts) if kind == "token" else expected, 1e-4)


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("kernels", KERNELS)
def test_texts_alone_are_texts_in_company(kernels: str, weights: Any) -> None:
    engine = native(small_bert(position="rotary"), kernels, weights)
    texts, marks = drawn([3, 9, 1, 14, 9, 2, 5, 48, 30, 4, 6, 7, 8, 2, 2, 11, 12, *[16] * 20], 40, 3)
    together = encode(engine, flat(texts), sizes_of(texts), flat(marks), threads=2)
    said = logits(engine, together.packed, threads=2)
    pooled_together = {how: together.vectors(how, normalize=True) for how in ("mean", "first", "max")}
    for number, (text, own, start) in enumerate(zip(texts, marks, together.starts, strict=True)):
        alone = encode(engine, flat([text]), sizes_of([text]), flat([own]))
        assert np.array_equal(alone.packed, together.packed[start : start + len(text)])
        assert np.array_equal(logits(engine, alone.packed[-1:]), said[start + len(text) - 1 :][:1])
        for how, vectors in pooled_together.items():
            assert np.array_equal(alone.vectors(how, normalize=True)[0], vectors[number])


def test_int8_is_near_float32() -> None:
    texts, _ = drawn([9, 48, 3], 40, 1)
    both = [
        encode(native(small_bert(), None, weights), flat(texts), sizes_of(texts)) for weights in ("float32", "int8")
    ]
    exact, rounded = (torch.from_numpy(states.packed) for states in both)
    assert_near(rounded, exact, 0.05)
    assert not torch.equal(rounded, exact)


@pytest.mark.parametrize("pooling", ["mean", "first", "max"])
@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_those_of_padded_states(pooling: Any, normalize: bool) -> None:
    rows = [[0] * 3, [0] * 1, [0] * 5]
    _, real = padded(rows)
    states = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(1))
    states[1, 0] = 0.0  # no direction
    expected = pooled(states, real, EmbeddingConfig(pooling, normalize))
    wide = torch.nn.functional.pad(packed(states, rows), (0, 10)).numpy()
    found = States(wide, sizes_of(rows), 6).vectors(pooling, normalize=normalize)
    assert_near(torch.from_numpy(found), expected, 1e-6)


def test_portions_are_of_like_length_and_not_too_long() -> None:
    assert list(portions([3, 9, 2, 30, 3], most=10)) == [[3], [1], [0, 4, 2]]
    assert list(portions([])) == []
    assert list(portions([20], most=10)) == [[0]]


def test_what_cannot_be_is_one_line() -> None:
    model = native(small_bert(n_segments=2))
    ones = np.array([4], dtype=np.int32)
    with pytest.raises(ModelError, match=r"^piece 40: must be from 0 to 39$"):
        encode(model, flat([[4, 40]]), ones - 2)
    with pytest.raises(ModelError, match=r"^a sequence of 49 pieces: must be at least 1 and at most max_seq_len = 48$"):
        encode(model, flat([[4] * 49]), ones * 0 + 49)
    with pytest.raises(ModelError, match=r"^a sequence of 0 pieces: must be at least 1"):
        encode(model, flat([[4]]), np.array([1, 0], dtype=np.int32))
    with pytest.raises(ModelError, match=r"^segment 2: must be from 0 to 1$"):
        encode(model, flat([[4]]), ones - 3, flat([[2]]))
    with pytest.raises(ValueError, match=r"^1 pieces: must be 4, the sum of lengths"):
        encode(model, flat([[4]]), ones)
    assert encode(model, flat([]), flat([])).packed.shape == (0, 48)
    assert logits(model, np.zeros((0, 48), np.float32)).shape == (0, 40)
