"""Next-sentence pairs: every sentence once, half of the Bs follow, the others are of another document."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.config import parse
from clearhead.data.documents import DocumentsConfig, read_documents
from clearhead.data.pairs import MaskedConfig, Pairs, fit_rows, plan_pairs
from clearhead.data.sentences import SentenceStore, Units, prepare_sentences
from clearhead.errors import DataError, UsageError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

CHARS = Tokenizer.train(["a。"], TokenizerConfig(kind="char", specials="masked", min_frequency=1))
# sentences by length, document by document; at most 14 fit beside another in a row of 32
corpora = st.lists(st.lists(st.integers(1, 14), min_size=1, max_size=12), min_size=2, max_size=8).filter(
    lambda documents: any(len(document) > 1 for document in documents)
)


def units_of(documents: list[list[int]]) -> Units:
    """Units one after the other, a run a document."""
    ends = np.cumsum([size for document in documents for size in document])
    counts = [len(document) for document in documents]
    return Units(
        starts=np.append(0, ends[:-1]),
        ends=ends,
        runs=np.append(0, np.cumsum(counts)),
        documents=np.repeat(np.arange(len(documents)), counts),
        overlong=0,
        dropped=0,
        limit=14,
    )


def plan(units: Units, *, max_seq_len: int = 32, seed: int = 1, epoch: int = 0, **config: Any) -> Pairs:
    return plan_pairs(units, config=MaskedConfig(**config), max_seq_len=max_seq_len, seed=seed, epoch=epoch)


def check(units: Units, pairs: Pairs, *, max_seq_len: int = 32) -> None:
    """Rows fit, are whole units of one run each, and cover everything once."""
    begins, ends = units.starts.tolist(), units.ends.tolist()
    document = dict(zip(begins, units.documents.tolist(), strict=True))
    run_ends = [ends[last - 1] for last in units.runs[1:].tolist()]
    assert pairs.lengths.max() <= max_seq_len
    covered = []
    for (a, a_end, b, b_end), follows in zip(pairs.spans.tolist(), pairs.is_next.tolist(), strict=True):
        assert a in begins
        assert a_end in ends
        assert a < a_end <= min(end for end in run_ends if end > a), "A is in one run"
        covered += range(a, a_end)
        if not pairs.pair:
            assert b == b_end
            continue
        assert b in begins
        assert b_end in ends
        assert b < b_end <= min(end for end in run_ends if end > b), "B is in one run"
        assert follows == (b == a_end and document[a] == document[b])
        assert follows or document[a] != document[b]
        covered += range(b, b_end) if follows else []
    expected = [i for begin, end in zip(begins, ends, strict=True) for i in range(begin, end)]
    assert sorted(covered) == expected, "every unit once"


@given(documents=corpora, seed=st.integers(0, 2**32), epoch=st.integers(0, 99), short=st.sampled_from([0.0, 0.1, 1.0]))
def test_every_sentence_once(documents: list[list[int]], seed: int, epoch: int, short: float) -> None:
    units = units_of(documents)
    check(units, plan(units, seed=seed, epoch=epoch, short_fraction=short))
    check(units, plan(units, seed=seed, epoch=epoch, short_fraction=short, next_sentence=False))


def many(count: int = 300) -> list[list[int]]:
    """Documents of 1 to 20 sentences of 2 to 14 pieces."""
    rng = np.random.default_rng(0)
    return [rng.integers(2, 15, rng.integers(1, 21)).tolist() for _ in range(count)]


def test_half_of_the_rows_follow() -> None:
    units, follows = units_of(many()), []
    for epoch in range(5):
        pairs = plan(units, epoch=epoch)
        check(units, pairs)
        follows += pairs.is_next.tolist()
    assert len(follows) > 5000
    assert abs(np.mean(follows) - 0.5) < 4 * math.sqrt(0.25 / len(follows))


def test_short_documents_get_a_random_b_and_both_kinds_stay_equal() -> None:
    units = units_of([[3]] * 200 + [[4, 5, 6, 7] * 10] * 50)
    rows = []
    for epoch in range(10):
        pairs = plan(units, epoch=epoch, short_fraction=0.0)
        check(units, pairs)
        alone = pairs.spans[:, 0] < 600
        assert alone.sum() == 200
        assert not pairs.is_next[alone].any()
        rows += pairs.is_next.tolist()
    assert len(rows) > 6000
    assert abs(np.mean(rows) - 0.5) < 4 * math.sqrt(0.25 / len(rows)), "not a third"


def test_a_random_b_is_a_sentence_drawn_evenly() -> None:
    units = units_of([[5] * 10, [5] * 40, [5] * 50])
    drawn: list[int] = []
    for epoch in range(400):
        pairs = plan(units, epoch=epoch)
        rows = pairs.spans[~pairs.is_next]
        drawn += (rows[rows[:, 0] < 50][:, 2] // 5).tolist()
    counts = np.bincount(drawn, minlength=100)
    assert counts[:10].sum() == 0
    expected = len(drawn) / 90
    assert ((counts[10:] - expected) ** 2 / expected).sum() < 89 + 5 * math.sqrt(2 * 89), "chi-squared"


def test_rows_are_full_but_for_a_share() -> None:
    units = units_of([[5] * 400] * 4)
    for share in (0.0, 0.1, 1.0):
        pairs = plan(units, short_fraction=share, epoch=3)
        full = pairs.lengths >= 28
        # of the lengths from 2 to 29 five are full too
        assert abs(full.mean() - (1 - share * 23 / 28)) < 0.06
    assert plan(units, short_fraction=1.0).lengths.min() == 13, "two sentences at least"
    alone = plan(units, next_sentence=False, short_fraction=0.0)
    assert set(alone.lengths.tolist()) <= {32, 2 + 5 * (400 % 6)}, "six sentences of five and two marks"


def test_where_hardly_anything_fits_a_is_made_shorter() -> None:
    # each sentence fills half a row: beside two short ones no other fits
    units = units_of([[1, 1, 1] * 60, [14] * 50, [14] * 50])
    pairs = plan(units)
    check(units, pairs)


def test_what_is_drawn_comes_from_seed_and_epoch() -> None:
    units = units_of(many(30))
    first, again, epoch, seed = plan(units), plan(units), plan(units, epoch=1), plan(units, seed=2)
    assert np.array_equal(first.spans, again.spans)
    assert all(a.spans.tolist() != b.spans.tolist() for a, b in pairwise([epoch, first, seed]))


def store(folder: Path, text: str) -> SentenceStore:
    (folder / "train.txt").write_text(text, encoding="utf-8")
    (folder / "valid.txt").write_text("x")
    documents = read_documents(folder, split="train", config=DocumentsConfig(separator="blank_line"))
    return prepare_sentences(documents, tokenizer=CHARS, cache_dir=folder / "cache")


def test_sentences_fill_half_a_row_at_most(tmp_path: Path) -> None:
    sentences = store(tmp_path, "我我我我。我我我我我我我我我我我我。我。我。\n\n我。")
    assert fit_rows(sentences, config=MaskedConfig(), max_seq_len=23).limit == 10
    alone = fit_rows(sentences, config=MaskedConfig(next_sentence=False), max_seq_len=12)
    assert (alone.limit, alone.overlong) == (10, 1)
    dropped = fit_rows(sentences, config=MaskedConfig(overlong="drop"), max_seq_len=23)
    assert dropped.dropped == 13
    with pytest.raises(UsageError, match="max_seq_len = 4: must be at least 5, two pieces and marks"):
        fit_rows(sentences, config=MaskedConfig(), max_seq_len=4)
    with pytest.raises(UsageError, match="max_seq_len = 3: must be at least 4, two pieces and marks"):
        fit_rows(sentences, config=MaskedConfig(next_sentence=False), max_seq_len=3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a。a。a。",
            r"^train\.txt: one document, but a random next sentence comes from another; set next_sentence = false",
        ),
        (
            "a。\n\na。\n\na。",
            r"^train\.txt: no document has two sentences, so that none follows another; set next_sent",
        ),
    ],
)
def test_pairs_need_documents(tmp_path: Path, text: str, words: str) -> None:
    sentences = store(tmp_path, text)
    with pytest.raises(DataError, match=words) as e:
        fit_rows(sentences, config=MaskedConfig(), max_seq_len=32)
    assert "\n" not in str(e.value)
    config = MaskedConfig(next_sentence=False)
    pairs = plan_pairs(
        fit_rows(sentences, config=config, max_seq_len=32), config=config, max_seq_len=32, seed=0, epoch=0
    )
    assert (pairs.lengths - 2).sum() == 6


def test_config_refuses() -> None:
    for tree in ({"mask_fraction": 0.0}, {"short_fraction": 1.1}, {"overlong": "truncate"}):
        with pytest.raises(UsageError, match=f"{next(iter(tree))} = "):
            parse(MaskedConfig, tree, source="recipe")
    with pytest.raises(UsageError, match=r"mask_share \+ random_share = 1\.1: must be at most 1"):
        parse(MaskedConfig, {"mask_share": 0.9, "random_share": 0.2}, source="recipe")
