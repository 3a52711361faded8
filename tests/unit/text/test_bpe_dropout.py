"""BPE-dropout: without dropping it is the library's BPE, with it it is the algorithm of the paper."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from clearhead.text.bpe_dropout import BpeDropout
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

MERGES = [("a", "b"), ("b", "c"), ("ab", "c"), ("abc", "ab"), ("c", "ab")]
IDS = {piece: i for i, piece in enumerate(["a", "b", "c", "ab", "bc", "abc", "abcab", "cab"], 4)}


def by_the_paper(word: str, p: float, draw: random.Random) -> tuple[str, ...]:
    """Algorithm 1, word by word: at every step each possible merge is dropped with probability p."""
    symbols = list(word)
    while True:
        pairs = [(MERGES.index(pair), i) for i, pair in enumerate(pairwise(symbols)) if pair in MERGES]
        kept = [candidate for candidate in pairs if draw.random() >= p]
        if not kept:
            return tuple(symbols)
        at = min(kept)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


@pytest.mark.parametrize("before", [[], ["ab", "c"]], ids=["alone", "after other words"])
@pytest.mark.parametrize("kept", [True, False], ids=["segmentations kept", "none kept"])
def test_distribution_is_the_papers(before: list[str], kept: bool) -> None:
    n, p, word = 6_000, 0.3, "abcabc"
    names = {i: piece for piece, i in IDS.items()}
    ours = BpeDropout(IDS, MERGES, p=p, unk=3)
    if not kept:
        ours.longest_kept = 0
    counts: Counter[tuple[str, ...]] = Counter()
    for seed in range(n):
        pieces = [names[i] for i in ours.encode([*before, word], seed)]
        while sum(map(len, pieces)) > len(word):
            del pieces[0]
        counts[tuple(pieces)] += 1
    draw = random.Random(0)
    expected = Counter(by_the_paper(word, p, draw) for _ in range(n))
    assert len(expected) > 5
    for split in expected | counts:
        assert abs(counts[split] - expected[split]) < 5 * (expected[split] + counts[split] + 10) ** 0.5, split


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("count", [400, pytest.param(3000, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["byte_bpe", "bpe"])
def test_without_dropping_it_equals_encode_on_real_text(kind: TokenizerKind, count: int, shared_data: Path) -> None:
    folder = shared_data / "tatoeba-zh-en"
    lines = [x for s in ("zh", "en") for x in (folder / f"train.{s}").read_text("utf-8").split("\n")[:count]]
    tokenizer = Tokenizer.train(lines[::2], TokenizerConfig(kind=kind, vocab_size=2000))
    rng = np.random.default_rng(0)
    odd = ["", " ", "  a  b ", "罕\u0000\ufeff👩‍👩‍👧", "aaaaaaaaa" * 40, "哈" * 300, "</s><pad>"]
    assert [tokenizer.encode_with_dropout(x, rng) for x in lines + odd] == tokenizer.encode_batch(lines + odd)


def test_unknown_characters_and_no_merges() -> None:
    assert BpeDropout(IDS, MERGES, p=0.0, unk=3).encode(["axb", "", "ab"], 0) == [4, 3, 5, 7]
    assert BpeDropout(IDS, [], p=0.5, unk=3).encode(["abc"], 0) == [4, 5, 6]


def test_segmentations_are_forgotten_when_there_are_too_many() -> None:
    dropout, spared = BpeDropout(IDS, MERGES, p=0.3, unk=3), BpeDropout(IDS, MERGES, p=0.3, unk=3)
    dropout.splits_kept = 100
    words = ["abc" * (1 + i % 20) for i in range(300)]
    for seed in range(20):
        assert dropout.encode(words, seed) == spared.encode(words, seed)
        assert len(dropout._plain) <= dropout._count <= 100 < spared._count
