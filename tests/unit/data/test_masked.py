"""Masked batches: the published ratios, on toy and real text, the same for any workers and after any stop."""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.data.documents import DocumentsConfig, read_documents
from clearhead.data.loading import load
from clearhead.data.masked import MaskedBatch, MaskedBatches, MaskedText, Masker, masked_text
from clearhead.data.pairs import MaskedConfig
from clearhead.data.sentences import prepare_sentences
from clearhead.errors import UsageError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.text.words import word_borders

PAD, UNK, CLS, SEP, MASK = 0, 3, 4, 5, 6
MARKS = (PAD, 1, 2, UNK, CLS, SEP, MASK)
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()


def toy(documents: int = 40) -> str:
    """Documents of 1 to 9 sentences, one of them with an unknown word now and then."""
    rng = np.random.default_rng(5)
    sentences = [
        [" ".join(rng.choice([*WORDS, "<unk>"], rng.integers(3, 12))) + " ." for _ in range(1 + number % 9)]
        for number in range(documents)
    ]
    return "\n\n".join("\n".join(document) for document in sentences)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    (folder / "train.txt").write_text(toy())
    (folder / "valid.txt").write_text("x")
    return folder


def make(folder: Path, kind: Any = "byte_bpe", *, max_seq_len: int = 64, size: int = 400, **config: Any) -> MaskedText:
    documents = read_documents(folder, split="train", config=DocumentsConfig(separator="blank_line", markup="wikitext"))
    # half of the words in parts
    lines = [" ".join(WORDS[:6]), *(" ".join(word) for word in WORDS)]
    tokenizer = Tokenizer.train(lines * 3, TokenizerConfig(kind=kind, vocab_size=size, specials="masked"))
    store = prepare_sentences(documents, tokenizer=tokenizer, cache_dir=folder / "cache")
    return masked_text(store, masker=Masker(tokenizer, MaskedConfig(**config)), max_seq_len=max_seq_len)


@pytest.fixture(scope="module")
def text(folder: Path) -> MaskedText:
    return make(folder)


def restored(batch: MaskedBatch) -> torch.Tensor:
    """The ids before anything was hidden."""
    ids = batch.ids.flatten().clone()
    ids[batch.positions] = batch.targets
    return ids.view(batch.ids.shape)


def same(first: Iterable[MaskedBatch], second: Iterable[MaskedBatch]) -> bool:
    pairs = [zip(vars(a).values(), vars(b).values(), strict=True) for a, b in zip(first, second, strict=True)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for pair in pairs for a, b in pair)


def check(batches: MaskedBatches) -> None:
    """Rows are what the plan says, and what is hidden may be."""
    ids = batches.store.ids
    for index, batch in enumerate(load(batches)):
        whole = restored(batch)
        for row, number in enumerate(batches.plan[index].tolist()):
            a, a_end, b, b_end = batches.pairs.spans[number].tolist()
            expected = [CLS, *ids[a:a_end].tolist(), SEP]
            segments = [0] * len(expected)
            if batches.pairs.pair:
                assert batch.next_labels is not None
                assert bool(batch.next_labels[row]) == batches.pairs.is_next[number]
                expected += [*ids[b:b_end].tolist(), SEP]
                segments += [1] * (len(expected) - len(segments))
            fill = batch.ids.shape[1] - len(expected)
            assert whole[row].tolist() == expected + [PAD] * fill
            assert batch.segments[row].tolist() == segments + [0] * fill
            assert batch.mask[row].tolist() == [True] * len(expected) + [False] * fill
        assert not set(batch.targets.tolist()) & set(MARKS), "no mark, no padding, no unknown piece"
        assert batch.target_count == len(batch.targets) == len(batch.positions.unique())


@dataclasses.dataclass
class Counts:
    """What became of the pieces of some batches."""

    allowed: int = 0
    chosen: int = 0
    masked: int = 0
    kept: int = 0
    random: set[int] = dataclasses.field(default_factory=set)
    rows: int = 0
    follow: int = 0


def count(batches: Iterable[MaskedBatch]) -> Counts:
    counts = Counts()
    for batch in batches:
        ids, shown = restored(batch), batch.ids.flatten()[batch.positions]
        counts.allowed += int((~torch.isin(ids, torch.tensor(MARKS))).sum())
        counts.chosen += batch.target_count
        counts.masked += int((shown == MASK).sum())
        counts.kept += int((shown == batch.targets).sum())
        counts.random |= set(shown[(shown != MASK) & (shown != batch.targets)].tolist())
        counts.rows += len(batch.ids)
        counts.follow += int(batch.next_labels.sum()) if batch.next_labels is not None else 0
    return counts


def close(part: int, whole: int, share: float, *, cluster: float = 1.0) -> bool:
    """Within four standard deviations of a draw, of clusters that fall together."""
    return abs(part - share * whole) < 4 * math.sqrt(whole * share * (1 - share) * cluster)


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("next_sentence", [True, False])
@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece", "unigram", "char"])
def test_rows_are_the_text(folder: Path, kind: Any, next_sentence: bool) -> None:
    text = make(folder, kind, size=330 if kind == "byte_bpe" else 60, next_sentence=next_sentence)
    batches = text.training(batch_tokens=400, seed=3, epoch=1)
    check(batches)
    assert sorted(batches.plan.order.tolist()) == list(range(len(batches.pairs)))
    assert all(batch.ids.numel() <= 400 for batch in load(batches))
    assert (next(load(batches)).next_labels is None) != next_sentence
    check(text.evaluation(batch_tokens=400))


@pytest.mark.parametrize("whole_word", [False, True])
def test_the_published_shares(folder: Path, whole_word: bool) -> None:
    text = make(folder, whole_word=whole_word)
    counts = count(
        batch for epoch in range(30) for batch in load(text.training(batch_tokens=2048, seed=1, epoch=epoch))
    )
    assert counts.chosen > 10_000
    cluster = 6.0 if whole_word else 1.0
    assert close(counts.chosen, counts.allowed, 0.15, cluster=cluster)
    assert close(counts.masked, counts.chosen, 0.8)
    pieces = len(text.masker._random)
    assert close(counts.kept, counts.chosen, 0.1 + 0.1 / pieces)
    assert counts.random == set(text.masker._random.tolist()), "a random piece is any but a special one"
    assert not counts.random & set(MARKS)
    assert close(counts.follow, counts.rows, 0.5)


def test_other_shares(folder: Path) -> None:
    text = make(folder, mask_fraction=0.4, mask_share=0.0, random_share=0.0)
    counts = count(batch for epoch in range(4) for batch in load(text.training(batch_tokens=2048, seed=1, epoch=epoch)))
    assert close(counts.chosen, counts.allowed, 0.4)
    assert counts.kept == counts.chosen
    text = make(folder, mask_share=0.0, random_share=1.0)
    counts = count(load(text.training(batch_tokens=2048, seed=1, epoch=0)))
    assert counts.masked == 0
    assert counts.kept < counts.chosen * 0.02


def test_every_row_has_something_to_find(folder: Path) -> None:
    text = make(folder, mask_fraction=0.001)
    batch = text.evaluation(batch_tokens=2048)[0]
    rows = batch.positions // batch.ids.shape[1]
    assert rows.tolist() == list(range(len(batch.ids))), "one piece a row"


@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece", "unigram"])
def test_whole_words_or_none(folder: Path, kind: Any) -> None:
    text = make(folder, kind, size=330 if kind == "byte_bpe" else 60, whole_word=True)
    tokenizer = Tokenizer.train(
        [" ".join(WORDS[:6]), *(" ".join(word) for word in WORDS)] * 3,
        TokenizerConfig(kind=kind, vocab_size=330 if kind == "byte_bpe" else 60, specials="masked"),
    )
    begins, ends = word_borders(tokenizer)
    split = longest = 0
    for batch in load(text.training(batch_tokens=1024, seed=0, epoch=0)):
        ids = restored(batch).numpy()
        chosen = np.zeros(ids.size, bool)
        chosen[batch.positions.numpy()] = True
        chosen = chosen.reshape(ids.shape)
        real = ~np.isin(ids, MARKS)
        inside = real[:, 1:] & real[:, :-1] & ~begins[ids[:, 1:]] & ~ends[ids[:, :-1]]
        split += (inside & (chosen[:, 1:] != chosen[:, :-1])).sum()
        longest += (inside & chosen[:, 1:] & chosen[:, :-1]).sum()
    assert split == 0
    assert longest > 100


def test_words_meet_at_marks_and_chinese_characters(tmp_path: Path) -> None:
    line, words = "ab,cd我吃ef!", [[0, 1], [2], [3, 4], [5], [6], [7, 8], [9]]
    (tmp_path / "train.txt").write_text(f"{line}\n\n{line}", encoding="utf-8")
    (tmp_path / "valid.txt").write_text("x")
    documents = read_documents(tmp_path, split="train", config=DocumentsConfig(separator="blank_line"))
    tokenizer = Tokenizer.train([line], TokenizerConfig(kind="char", specials="masked", min_frequency=1))
    store = prepare_sentences(documents, tokenizer=tokenizer, cache_dir=tmp_path)
    config = MaskedConfig(whole_word=True, next_sentence=False, mask_fraction=0.4)
    text, masks = masked_text(store, masker=Masker(tokenizer, config), max_seq_len=12), []
    for epoch in range(200):
        batch = text.training(batch_tokens=100, seed=0, epoch=epoch)[0]
        masks += [np.isin(np.arange(1, 11), batch.positions[batch.positions < 12].numpy())]
    chosen = np.array(masks)
    assert all((chosen[:, word] == chosen[:, word[:1]]).all() for word in words)
    assert len({chosen[:, word[0]].tobytes() for word in words}) == len(words), "no two words go together"


def test_hidden_pieces_do_not_depend_on_batch_mates(text: MaskedText) -> None:
    found = []
    for tokens in (200, 1000):
        batches, rows = text.evaluation(batch_tokens=tokens), {}
        for index, batch in enumerate(load(batches)):
            for number, ids, real in zip(batches.plan[index].tolist(), batch.ids, batch.mask, strict=True):
                rows[number] = ids[real].tolist()
        found.append(rows)
    assert found[0] == found[1]
    assert same(load(text.evaluation(batch_tokens=400)), load(text.evaluation(batch_tokens=400)))


def test_each_epoch_hides_anew(text: MaskedText) -> None:
    def drawn(seed: int = 1, epoch: int = 0) -> list[list[int]]:
        return [batch.ids.tolist() for batch in load(text.training(batch_tokens=400, seed=seed, epoch=epoch))]

    assert drawn() == drawn()
    assert drawn() != drawn(epoch=1)
    assert drawn() != drawn(seed=2)
    batches = text.training(batch_tokens=400, seed=1, epoch=0)
    later = dataclasses.replace(batches, epoch=1)
    hidden = [int((a.ids != b.ids).sum()) for a, b in zip(load(batches), load(later), strict=True)]
    assert all(hidden), "of the same rows other pieces are hidden"


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("workers", [0, 2])
def test_any_workers_and_any_start_give_the_same(text: MaskedText, workers: int) -> None:
    batches = text.training(batch_tokens=400, seed=5, epoch=2)
    random = torch.get_rng_state()
    whole = list(load(batches))
    assert len(whole) > 5
    for start in (0, 3, len(whole)):
        assert same(load(batches, start=start, workers=workers), whole[start:])
    assert torch.equal(torch.get_rng_state(), random), "the global state is left alone"


def test_batch_moves_whole(text: MaskedText) -> None:
    batch = text.evaluation(batch_tokens=400)[0]
    moved = batch.to("meta")
    for field in dataclasses.fields(MaskedBatch):
        value, was = getattr(moved, field.name), getattr(batch, field.name)
        assert value.device.type == "meta" if isinstance(was, torch.Tensor) else value == was
        assert not isinstance(was, torch.Tensor) or was.dtype == (torch.bool if field.name == "mask" else torch.int64)
    assert text.lines()[-1].endswith("used + 0 dropped")


def test_a_tokenizer_without_marks_is_refused(text: MaskedText) -> None:
    plain = Tokenizer.train(["a b"], TokenizerConfig(kind="char"))
    with pytest.raises(UsageError, match=r"tokenizer has no \[CLS\] and \[SEP\]"):
        Masker(plain, MaskedConfig())
    with pytest.raises(UsageError, match=r"batch_tokens = 20: the longest sentence has 6\d tokens"):
        text.training(batch_tokens=20, seed=0, epoch=0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "whole_word"), [("byte_bpe", False), pytest.param("wordpiece", True, marks=pytest.mark.long)]
)
def test_wikitext_has_the_published_ratios(shared_data: Path, tmp_path: Path, kind: Any, whole_word: bool) -> None:
    config = DocumentsConfig(separator="heading", markup="wikitext")
    documents = read_documents(shared_data / "wikitext-2", split="valid", config=config)
    lines = [line for text in documents for line in text.split("\n")]
    tokenizer = Tokenizer.train(lines, TokenizerConfig(kind=kind, vocab_size=3000, specials="masked"))
    store = prepare_sentences(documents, tokenizer=tokenizer, cache_dir=tmp_path)
    text = masked_text(store, masker=Masker(tokenizer, MaskedConfig(whole_word=whole_word)), max_seq_len=128)
    assert text.units.dropped == 0
    batches = text.training(batch_tokens=4096, seed=1, epoch=0)
    counts = count(load(batches))
    assert counts.chosen > 30_000
    assert close(counts.chosen, counts.allowed, 0.15, cluster=4.0 if whole_word else 1.0)
    assert close(counts.masked, counts.chosen, 0.8)
    assert close(counts.kept, counts.chosen, 0.1 + 0.1 / len(text.masker._random))
    assert close(counts.follow, counts.rows, 0.5)
    assert batches.plan.efficiency > 0.97
    check(text.evaluation(batch_tokens=4096))
    # every piece once, in an A or in a B that follows; a random B is of another article
    spans, follows = batches.pairs.spans, batches.pairs.is_next
    used = np.concatenate([spans[:, :2], spans[follows][:, 2:]])
    used = used[np.argsort(used[:, 0])]
    assert used[0, 0] == 0
    assert used[-1, 1] == len(store.ids)
    assert np.array_equal(used[1:, 0], used[:-1, 1])
    article = np.searchsorted(store.sentences[store.documents], spans[:, [0, 2]], side="right")
    assert np.array_equal(article[:, 0] == article[:, 1], follows)
    assert np.array_equal(spans[:, 1] == spans[:, 2], follows)
