"""Shortlists are those of IBM model 1 as it stands in the paper, with what every translation needs beside them."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from clearhead.data.corpus import DataConfig, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.errors import DataError, ModelError
from clearhead.runs.text_parts import Tokenizers, load_both_sides
from clearhead.tasks.translation.search import lexicon
from clearhead.tasks.translation.search.lexicon import learn_shortlist, learned_from
from clearhead.tasks.translation.search.shortlist import FILE, read_shortlist
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.toy import demo_lines


@pytest.fixture(scope="module")
def both() -> Tokenizers:
    lines = demo_lines(60)
    config = TokenizerConfig(vocab_size=320)
    return Tokenizers(*(Tokenizer.train([pair[side] for pair in lines], config) for side in (0, 1)))


@pytest.fixture(scope="module")
def store(both: Tokenizers, tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    folder = tmp_path_factory.mktemp("text")
    for side, code in enumerate(("zh", "en")):
        text = "".join(pair[side] + "\n" for pair in demo_lines(60))
        (folder / f"train.{code}").write_text(text, encoding="utf-8")
    files = read_parallel(folder, stem="train", src="zh", tgt="en")
    return prepare(files, src=both.src, tgt=both.tgt, config=DataConfig(max_len=62), cache_dir=folder / "cache")


def model_1(store: PairStore, passes: int) -> dict[tuple[int, int], float]:
    """Probabilities (source piece, target piece), -1 for no source piece, by loops over sentences."""
    places = [([-1, *store.src(row).tolist()], piece) for row in range(len(store)) for piece in store.tgt(row).tolist()]
    chance: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(passes):
        expected: dict[tuple[int, int], float] = defaultdict(float)
        total: dict[int, float] = defaultdict(float)
        for source, piece in places:
            z = sum(chance[own, piece] for own in source)
            for own in source:
                expected[own, piece] += chance[own, piece] / z
                total[own] += chance[own, piece] / z
        chance = defaultdict(float, {pair: count / total[pair[0]] for pair, count in expected.items()})
    return chance


@pytest.mark.parametrize("at_once", [lexicon.AT_ONCE, 100])
def test_chances_are_those_of_model_1(
    at_once: int, store: PairStore, both: Tokenizers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexicon, "AT_ONCE", at_once)
    src, tgt = both.src.vocab_size, both.tgt.vocab_size
    seen: list[tuple[int, int]] = []
    rows = np.arange(len(store))
    keys, chances, counts = lexicon._lexicon(store, rows, src, tgt, lambda *at: seen.append(at))
    expected = model_1(store, lexicon.PASSES)
    found = {(int(key) // tgt, int(key) % tgt): float(chance) for key, chance in zip(keys, chances, strict=True)}
    assert {(src if own < 0 else own, piece) for own, piece in expected} == set(found)
    for (own, piece), chance in expected.items():
        assert found[src if own < 0 else own, piece] == pytest.approx(chance, abs=1e-9)
    assert (
        counts.tolist()
        == np.bincount(np.concatenate([store.tgt(row) for row in range(len(store))]), minlength=tgt).tolist()
    )
    assert seen == [(done + 1, lexicon.PASSES) for done in range(lexicon.PASSES)]


def test_the_best_come_first_and_those_spelled_alike_before(store: PairStore, both: Tokenizers) -> None:
    shortlist = learned_from(store, both, best=4, frequent=0).shortlist
    chance = model_1(store, lexicon.PASSES)
    begins = [0, *shortlist.ends[:-1].tolist()]
    alike, checked = 0, 0
    for piece, (first, last) in enumerate(zip(begins, shortlist.ends.tolist(), strict=True)):
        found = shortlist.likely[first:last].tolist()
        own = [pair[1] for pair in sorted(chance, key=lambda pair: (-chance[pair], pair[1])) if pair[0] == piece]
        spelled = [
            other for other in range(4, both.tgt.vocab_size) if both.tgt.spelling(other) == both.src.spelling(piece)
        ]
        spelled = spelled if piece > 3 else []
        wanted = [*spelled, *(other for other in own if other not in spelled and chance[piece, other] > 0)]
        assert [chance[piece, other] for other in found if other not in spelled] == pytest.approx(
            [chance[piece, other] for other in wanted[:4] if other not in spelled], abs=1e-9
        )
        assert found[: len(spelled)] == spelled
        alike, checked = alike + len(spelled), checked + bool(own)
    assert alike > 200  # every byte
    assert checked > 30


def test_what_always_may_come(store: PairStore, both: Tokenizers) -> None:
    tokenizer = both.tgt
    counts = np.bincount(np.concatenate([store.tgt(row) for row in range(len(store))]), minlength=tokenizer.vocab_size)
    always = set(learned_from(store, both, best=1, frequent=10).shortlist.always.tolist())
    rest = {
        piece for piece in range(tokenizer.vocab_size) if tokenizer.spelling(piece) in map(bytes, zip(range(128, 192)))
    }
    assert len(rest) == 64
    assert always >= {tokenizer.ids.eos} | rest
    often = always - rest - {tokenizer.ids.eos}
    assert len(often) == 10
    assert min(counts[[*often]]) >= max(count for piece, count in enumerate(counts) if piece not in always)
    assert not always & set(tokenizer.ids.never)
    everything = learned_from(store, both, best=1, frequent=10**6).shortlist
    assert {*np.flatnonzero(counts)} <= {*everything.always.tolist()}


def test_any_character_can_be_finished(store: PairStore, both: Tokenizers) -> None:
    """Whatever bytes a translation has begun with, some piece of every shortlist may follow."""
    shortlist, characters = learned_from(store, both, best=1, frequent=0).shortlist, both.tgt.characters
    assert characters is not None
    own = shortlist.choose([[]])[0]
    assert characters.allowed[-1, 1:, own].any(axis=0).all()


def test_larger_lists_cover_more_of_the_text(store: PairStore, both: Tokenizers) -> None:
    small, large = (learned_from(store, both, best=best, frequent=0) for best in (1, 20))
    assert small.size < large.size
    assert small.covered < large.covered <= 1
    assert learned_from(store, both, best=both.tgt.vocab_size, frequent=0).covered == 1


def test_a_large_text_is_read_in_part(store: PairStore, both: Tokenizers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "MOST_PAIRS", 7)
    monkeypatch.setattr(lexicon, "MOST_LOOKED_AT", 3)
    learned = learned_from(store, both, best=5, frequent=5)
    assert learned.pairs == 7
    assert 0 < learned.covered <= 1


def test_a_run_keeps_what_was_learned(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    learned = learn_shortlist(run, toy_data, best=8, frequent=20)
    kept = read_shortlist(run, load_both_sides(run).both)
    assert kept is not None
    assert kept.content() == learned.shortlist.content()
    first = (run / FILE).read_bytes()
    learn_shortlist(run, toy_data, best=8, frequent=20)
    assert (run / FILE).read_bytes() == first


def test_what_has_no_shortlist_is_one_line(toy_lm_run: Path, toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        learn_shortlist(toy_lm_run, tmp_path, best=1, frequent=1)
    with pytest.raises(ModelError):
        learn_shortlist(tmp_path, tmp_path, best=1, frequent=1)
    with pytest.raises(DataError):
        learn_shortlist(toy_run, tmp_path, best=1, frequent=1)
