"""A trained BERT at work: gaps filled, texts embedded, padded or alone, and what it refuses."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.masked.model import MaskedModel
from clearhead.text.special import ABSENT, MASK
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

TEXT = f"He {MASK} an apple."


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run)


@pytest.fixture(scope="module")
def lines(toy_masked_run: Path) -> list[str]:
    text = (toy_masked_run.parent / "data" / "train.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line][:40]


def with_tokenizer(model: MaskedModel, kind: Any, lines: list[str], **settings: Any) -> MaskedModel:
    """The model behind another tokenizer of at most as many pieces."""
    config = TokenizerConfig(kind=kind, vocab_size=400, min_frequency=1, specials="masked", **settings)
    return replace(model, tokenizer=Tokenizer.train(lines, config))


def test_what_is_found_is_what_the_model_says(model: MaskedModel) -> None:
    """Ids, probabilities and their order, computed anew from the bare model."""
    (found,) = model.fill([TEXT], top_k=7)
    ids = model.tokenizer.ids
    before, after = (model.tokenizer.encode(part) for part in ("He", " an apple."))
    row = torch.tensor([[ids.cls, *before, ids.mask, *after, ids.sep]])
    with torch.inference_mode():
        probabilities = model.model(row).mlm[1 + len(before)].softmax(dim=0)
    shares, pieces = probabilities.topk(7)
    assert [one.id for one in found.masks[0]] == pieces.tolist()
    assert [one.probability for one in found.masks[0]] == pytest.approx(shares.tolist(), rel=1e-4)
    assert [one.piece for one in found.masks[0]] == model.tokenizer.pieces(pieces.tolist())
    assert (found.prompt, found.text) == (TEXT, found.masks[0][0].text)
    for one in found.masks[0]:
        assert one.text == f"He{model.tokenizer.spelling(one.id).decode('utf-8', 'replace')} an apple."


def test_each_mask_of_several_has_its_own(model: MaskedModel) -> None:
    (found,) = model.fill([f"{MASK} cat is {MASK} the box{MASK}"], top_k=3)
    assert [len(candidates) for candidates in found.masks] == [3, 3, 3]
    first, second, third = (candidates[0] for candidates in found.masks)
    assert first.text.endswith(f" cat is {MASK} the box{MASK}")
    assert second.text.startswith(f"{MASK} cat is")
    assert second.text.endswith(f" the box{MASK}")
    assert third.text.startswith(f"{MASK} cat is {MASK} the box")
    assert MASK not in found.text
    assert " cat is" in found.text


def test_the_tokenizers_own_name_of_the_mask(model: MaskedModel) -> None:
    named = pickle.loads(pickle.dumps(model.tokenizer))
    named._pieces[named.ids.mask] = "<mask>"
    other = replace(model, tokenizer=named)
    one, two = other.fill(["He <mask> up", f"He {MASK} up"])
    assert one.masks == two.masks
    with pytest.raises(DataError, match=r"^text 1: text 'He sat up': has no \[MASK\], so there is nothing to fill$"):
        other.fill(["He sat up"])


@pytest.mark.parametrize(
    ("kind", "given", "pieces"),
    [
        ("byte_bpe", f"the {MASK} is", "the[MASK]▁is"),
        ("byte_bpe", f"{MASK} is", "[MASK]▁is"),
        ("bpe", f"the {MASK} is", "▁the[MASK]▁is"),
        ("bpe", f"the {MASK}is", "▁the[MASK]is"),
        ("unigram", f"the {MASK} is", "▁the[MASK]▁is"),
        ("wordpiece", f"the {MASK} is", "the[MASK]is"),
        ("char", f"is {MASK}s", "is▁[MASK]s"),
    ],
)
def test_a_space_before_a_mask_belongs_to_it(kind: str, given: str, pieces: str, model: MaskedModel) -> None:
    other = with_tokenizer(model, kind, ["the cat is the man is this is", "is the"] * 9)
    row = other._row(given)
    assert "".join(other.tokenizer.pieces(row)) == pieces


@pytest.mark.parametrize(
    ("kind", "before", "piece", "expected"),
    [
        ("byte_bpe", "the ", "▁cat", "the cat"),
        ("byte_bpe", "the", "▁cat", "the cat"),
        ("byte_bpe", "cat ", "s", "cats"),
        ("byte_bpe", "", "▁cat", "cat"),
        ("wordpiece", "the ", "cat", "the cat"),
        ("wordpiece", "我", "了", "我了"),
        ("wordpiece", "the cat ", "##s", "the cats"),
        ("bpe", "the ", "▁cat", "the cat"),
        ("char", "the ", "c", "the c"),
    ],
)
def test_a_piece_stands_as_it_is_written(kind: str, before: str, piece: str, expected: str, model: MaskedModel) -> None:
    other = with_tokenizer(model, kind, ["the cat cats the this", "我了 了我"] * 9)
    number = next(i for i in range(other.tokenizer.vocab_size) if other.tokenizer.pieces([i]) == [piece])
    assert other._joined(before, number) == expected


def test_batch_mates_change_nothing(model: MaskedModel, lines: list[str]) -> None:
    texts = [f"{MASK} {line}" for line in (lines[3], lines[0], "a", lines[1])]
    for one, text in zip(model.fill(texts), texts, strict=True):
        (alone,) = model.fill([text])
        assert one.prompt == text
        assert [[each.id for each in mask] for mask in one.masks] == [
            [each.id for each in mask] for mask in alone.masks
        ]
        for mine, own in zip(one.masks[0], alone.masks[0], strict=True):
            assert mine.probability == pytest.approx(own.probability, abs=1e-6)
    vectors = model.embed([*lines, ""])
    assert (vectors.shape, vectors.dtype) == ((41, 64), np.float32)
    for number in (0, 1, 7, 39):
        np.testing.assert_allclose(vectors[number], model.embed([lines[number]])[0], atol=1e-5)
    assert model.embed([]).shape == (0, 64)
    assert model.fill([]) == []


def test_a_vector_is_the_mean_over_pieces_and_marks(model: MaskedModel) -> None:
    ids = model.tokenizer.ids
    row = torch.tensor([[ids.cls, *model.tokenizer.encode("He eats."), ids.sep]])
    with torch.inference_mode():
        expected = model.model.bert(row)[0].mean(dim=0)
    np.testing.assert_allclose(model.embed(["He eats."])[0], expected.numpy(), atol=1e-5)


def test_a_long_text_is_refused_or_cut_and_counted(model: MaskedModel) -> None:
    text = "a b " * 40
    pieces = len(model.tokenizer.encode(text))
    for call in (lambda: model.embed(["a", text]), lambda: model.fill([f"{text}{MASK}"])):
        with pytest.raises(
            DataError, match=r"^text \d: text 'a b a b.*': \d+ pieces and marks, more than .*max_seq_len = 48$"
        ):
            call()
    cut: list[tuple[int, int]] = []
    vectors = model.embed(["a", text], overlong="truncate", on_cut=lambda *counts: cut.append(counts))
    assert cut == [(1, pieces - 46)]
    kept = model.tokenizer.decode(model.tokenizer.encode(text)[:46])
    np.testing.assert_allclose(vectors[1], model.embed([kept])[0], atol=1e-5)


def test_what_cannot_be_filled(model: MaskedModel, toy_lm_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^text 2: text 'He eats': has no \[MASK\], so there is nothing to fill$"):
        model.fill([TEXT, "He eats"])
    with pytest.raises(UsageError, match="top_k = 0: must be at least 1"):
        model.fill([TEXT], top_k=0)
    characters = model.tokenizer.characters
    assert characters is not None
    assert len(model.fill([TEXT], top_k=9999)[0].masks[0]) == characters.whole.sum()
    bare = Tokenizer.train(["a b"], TokenizerConfig(vocab_size=300))
    assert bare.ids.mask == ABSENT
    with pytest.raises(ModelError, match=r"tokenizer has no \[MASK\]"):
        replace(model, tokenizer=bare).fill([TEXT])
    with pytest.raises(ModelError, match="is for the task language_model, not masked: use clearhead generate"):
        MaskedModel.load(toy_lm_run)
    with pytest.raises(ModelError, match="no such directory"):
        MaskedModel.load(tmp_path / "nowhere")
