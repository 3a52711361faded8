"""Labelled lines as ids: longest-first truncation, counted; batches by length, the same for any workers."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clearhead.data.labels.labelled import LabelledConfig, LabelledText, Line, read_labelled
from clearhead.data.labels.labelled_batches import (
    LabelledBatch,
    LabelledRows,
    encode_labelled,
    encode_texts,
    evaluation_batches,
    training_batches,
)
from clearhead.data.loading import load
from clearhead.errors import DataError, UsageError
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

PAD, UNK, CLS, SEP, MASK = 0, 3, 4, 5, 6
CHARS = Tokenizer.train(["abcdef ghij"], TokenizerConfig(kind="char", specials="masked", min_frequency=1))


def lines(count: int = 80, *, pairs: bool = False) -> LabelledText:
    rng = np.random.default_rng(3)

    def text() -> str:
        return "".join(rng.choice(list("abcdefghij"), rng.integers(1, 30)))

    rows = [Line(f"f line {i}", "ny"[i % 3 == 0], text(), text() if pairs else None) for i in range(count)]
    return LabelledText(rows, ("n", "y"), "f", 2)


def encoded(*, pairs: bool = False, max_seq_len: int = 64) -> LabelledRows:
    return encode_labelled(lines(pairs=pairs), tokenizer=CHARS, max_seq_len=max_seq_len)


def same(first: Iterable[LabelledBatch], second: Iterable[LabelledBatch]) -> bool:
    both = [zip(vars(a).values(), vars(b).values(), strict=True) for a, b in zip(first, second, strict=True)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for pair in both for a, b in pair)


def one_by_one(a: int, b: int, room: int) -> tuple[int, int]:
    """Longest-first truncation as it is said: a piece at a time."""
    while a + b > room:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    return a, b


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=20), most=st.integers(5, 60)
)
def test_the_longer_text_loses_its_last_piece_first(sizes: list[tuple[int, int]], most: int) -> None:
    first, second = ["a" * a for a, _ in sizes], ["b" * b for _, b in sizes]
    rows = encode_texts(first, second, tokenizer=CHARS, max_seq_len=most)
    kept = [(a_end - a, b_end - b) for a, a_end, b, b_end in rows.spans.tolist()]
    assert kept == [one_by_one(a, b, most - 3) for a, b in sizes]
    assert rows.cut.tolist() == [a + b - sum(k) for (a, b), k in zip(sizes, kept, strict=True)]
    alone = encode_texts(first, None, tokenizer=CHARS, max_seq_len=most)
    assert (alone.lengths - 2).tolist() == [min(a, most - 2) for a, _ in sizes]


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("max_seq_len", [20, 64])
def test_every_line_once_as_it_is(pairs: bool, max_seq_len: int) -> None:
    source, text = encoded(pairs=pairs, max_seq_len=max_seq_len), lines(pairs=pairs)
    batches = training_batches(source, batch_tokens=320, seed=1, epoch=0)
    seen = []
    for batch in load(batches):
        assert batch.ids.numel() <= 320
        assert batch.target_count == len(batch.ids)
        for row, index in enumerate(batch.indices.tolist()):
            line = text.lines[index]
            a, b = len(line.text), len(line.pair or "")
            a, b = one_by_one(a, b, max_seq_len - 3) if pairs else (min(a, max_seq_len - 2), 0)
            expected = [CLS, *CHARS.encode(line.text)[:a], SEP]
            segments = [0] * len(expected)
            if line.pair is not None:
                expected += [*CHARS.encode(line.pair)[:b], SEP]
                segments += [1] * (b + 1)
            fill = batch.ids.shape[1] - len(expected)
            assert batch.ids[row].tolist() == expected + [PAD] * fill
            assert batch.segments[row].tolist() == segments + [0] * fill
            assert batch.mask[row].tolist() == [True] * len(expected) + [False] * fill
            assert batch.labels[row] == (line.label == "y")
            seen.append(index)
    assert sorted(seen) == list(range(80))
    scored = evaluation_batches(source, batch_tokens=320)
    assert sorted(i for batch in load(scored) for i in batch.indices.tolist()) == list(range(80))
    assert same(load(scored), load(evaluation_batches(source, batch_tokens=320)))


def test_what_is_read_is_used_or_dropped() -> None:
    text = LabelledText(
        [
            Line("f line 1", "n", "a" * 20, None),
            Line("f line 2", "y", "b?", None),
            Line("f line 3", "y", "?" * 30, None),
        ],
        ("n", "x", "y"),
        "f",
        2,
    )
    report = encode_labelled(text, tokenizer=CHARS, max_seq_len=12).report
    assert (report.pieces_in, report.pieces_used, report.pieces_dropped, report.truncated) == (52, 22, 30, 2)
    assert report.unknown == 11, "of the pieces that are used"
    assert report.lines() == [
        "f: 3 lines",
        "  2 blank lines skipped",
        "  labels: n 1, x 0, y 2",
        "  52 pieces in = 22 used + 30 dropped; 11 unknown",
        "  2 lines truncated",
        "  pieces a line: median 20, 95 % 30, longest 30",
    ]
    assert report.as_dict()["labels"] == {"n": 1, "x": 0, "y": 2}
    with pytest.raises(DataError, match=r"^f line 1: 22 pieces and marks, more than max_seq_len = 12; overlong may be"):
        encode_labelled(text, tokenizer=CHARS, max_seq_len=12, overlong="error")
    assert encode_labelled(text, tokenizer=CHARS, max_seq_len=32, overlong="error").report.pieces_dropped == 0


def test_a_text_of_no_pieces_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours make unknown pieces of any sign, BERT's own tokenizer drops what is no letter, mark or space."""
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda self, texts: [[7] * (text != "\u200b") for text in texts])
    for first, second in (("\u200b", None), ("a", "\u200b"), ("\u200b", "a")):
        rows = [Line("f line 1", "n", "b", second and "b"), Line("f line 2", "y", first, second)]
        with pytest.raises(DataError, match=r"^f line 2: a text gives no pieces; the tokenizer drops"):
            encode_labelled(LabelledText(rows, ("n", "y"), "f", 0), tokenizer=CHARS, max_seq_len=12)


def test_numbers_are_labels_of_floats() -> None:
    text = LabelledText([Line("", "1.5", "a", None), Line("", "-2", "b", None)], (), "f", 0)
    source = encode_labelled(text, tokenizer=CHARS, max_seq_len=12)
    batch = evaluation_batches(source, batch_tokens=99)[0]
    assert batch.labels.dtype == torch.float32
    assert sorted(batch.labels.tolist()) == [-2, 1.5]
    assert source.report.lines()[1] == "  labels: least -2, mean -0.25, greatest 1.5"


@pytest.mark.parametrize("workers", [0, 2])
def test_any_workers_and_any_start_give_the_same(workers: int) -> None:
    batches = training_batches(encoded(pairs=True), batch_tokens=400, seed=5, epoch=2)
    whole = list(load(batches))
    assert len(whole) > 5
    for start in (0, 3, len(whole)):
        assert same(load(batches, start=start, workers=workers), whole[start:])


def test_order_comes_from_seed_and_epoch() -> None:
    source = encoded()

    def order(**how: int) -> list[int]:
        return training_batches(source, batch_tokens=320, **{"seed": 1, "epoch": 0, **how}).plan.order.tolist()

    assert order() == order()
    assert order() != order(epoch=1)
    assert order() != order(seed=2)


def hidden(source: LabelledRows, *, share: float = 0.3, seed: int = 1, epoch: int = 0, tokens: int = 320) -> Any:
    return training_batches(source, batch_tokens=tokens, seed=seed, epoch=epoch, word_dropout=share)


def rows_of(batches: Iterable[LabelledBatch]) -> dict[int, list[int]]:
    """The ids of each line, padding left out, by its number."""
    return {
        index: batch.ids[row][batch.mask[row]].tolist()
        for batch in batches
        for row, index in enumerate(batch.indices.tolist())
    }


@pytest.mark.parametrize("pairs", [False, True])
def test_hidden_pieces_are_pieces_of_the_text_and_nothing_else_changes(pairs: bool) -> None:
    source = encoded(pairs=pairs)
    count = 0
    whole = training_batches(source, batch_tokens=320, seed=1, epoch=0)
    for batch, was in zip(load(hidden(source)), load(whole), strict=True):
        differs = batch.ids != was.ids
        assert (batch.ids[differs] == MASK).all()
        assert not differs[~was.mask | (was.ids == CLS) | (was.ids == SEP)].any()
        assert same([dataclasses.replace(batch, ids=was.ids)], [was])
        count += int(differs.sum())
    assert count > 100
    assert same(load(hidden(source, share=0.0)), load(whole))
    assert not any((batch.ids == MASK).any() for batch in load(evaluation_batches(source, batch_tokens=320)))


def test_what_is_hidden_comes_from_seed_epoch_and_line_alone() -> None:
    source = encoded(pairs=True)
    first = rows_of(load(hidden(source)))
    assert rows_of(load(hidden(source, tokens=2000))) == first, "other batch mates"
    assert rows_of(load(hidden(source), workers=2)) == first
    assert rows_of(load(hidden(source), start=3)).items() < first.items(), "a run that goes on"
    assert len({tuple(row) for row in first.values()}) == len(first)
    for other in (hidden(source, seed=2), hidden(source, epoch=1)):
        again = rows_of(load(other))
        assert sum(again[line] != first[line] for line in first) > 60


def test_lines_that_are_alike_are_hidden_apart() -> None:
    text = LabelledText([Line("", "ny"[i % 2], "a" * 40, None) for i in range(40)], ("n", "y"), "f", 0)
    rows = rows_of(load(hidden(encode_labelled(text, tokenizer=CHARS, max_seq_len=64), tokens=4096)))
    assert len({tuple(row) for row in rows.values()}) == 40


BPE = TokenizerConfig(kind="byte_bpe", vocab_size=400, specials="masked")
MERGED = Tokenizer.train([line.text for line in lines().lines] * 2, BPE).with_dropout(0.6)


def drawn(*, pairs: bool = True, max_seq_len: int = 64, seed: int = 1, epoch: int = 0, tokens: int = 640) -> Any:
    source = encode_labelled(lines(pairs=pairs), tokenizer=MERGED, max_seq_len=max_seq_len)
    return training_batches(source, batch_tokens=tokens, seed=seed, epoch=epoch)


@pytest.mark.parametrize("pairs", [False, True])
def test_bpe_dropout_gives_other_pieces_of_the_same_text(pairs: bool) -> None:
    batches, text = drawn(pairs=pairs), lines(pairs=pairs)
    first = rows_of(load(batches))
    once = rows_of(load(evaluation_batches(batches.source, batch_tokens=640)))
    assert sum(first[line] != once[line] for line in once) > 40
    for number, line in enumerate(text.lines):
        assert MERGED.decode(first[number]) == line.text + (line.pair or "")
        assert first[number].count(SEP) == 1 + pairs
    for batch in load(batches):
        assert (batch.segments == 1).any() if pairs else not batch.segments.any()
        assert batch.mask.shape[1] == int(batch.mask.sum(1).max()), "padded to its longest"


def test_bpe_dropout_comes_from_seed_epoch_and_line_alone() -> None:
    first = rows_of(load(drawn()))
    assert rows_of(load(drawn(tokens=2000))) == first, "other batch mates"
    assert rows_of(load(drawn(), workers=2)) == first
    for other in (drawn(seed=2), drawn(epoch=1)):
        again = rows_of(load(other))
        assert sum(again[line] != first[line] for line in first) > 40


def test_lines_that_are_alike_fall_apart_each_in_its_way() -> None:
    text = LabelledText([Line("", "ny"[i % 2], lines().lines[0].text, None) for i in range(40)], ("n", "y"), "f", 0)
    source = encode_labelled(text, tokenizer=MERGED, max_seq_len=64)
    rows = rows_of(load(training_batches(source, batch_tokens=640, seed=1, epoch=0)))
    assert len({tuple(row) for row in rows.values()}) > 3


def test_bpe_dropout_makes_no_line_longer_than_the_model() -> None:
    batches = drawn(max_seq_len=24)
    stored = rows_of(load(evaluation_batches(batches.source, batch_tokens=640)))
    rows = rows_of(load(batches))
    assert max(map(len, rows.values())) <= 24
    cut = np.flatnonzero(batches.source.rows.cut)
    assert 5 < len(cut) < len(rows) - 5
    assert all(rows[line] == stored[line] for line in cut)
    assert any(rows[line] != stored[line] for line in rows)


def test_without_a_mask_the_unknown_piece_stands_there() -> None:
    source = encoded()
    plain = dataclasses.replace(source, special=dataclasses.replace(source.special, mask=ABSENT))
    masked, unknown = rows_of(load(hidden(source))), rows_of(load(hidden(plain)))
    assert unknown == {line: [UNK if i == MASK else i for i in row] for line, row in masked.items()}
    neither = dataclasses.replace(source, special=dataclasses.replace(plain.special, unk=ABSENT))
    with pytest.raises(UsageError, match=r"word_dropout = 0.3: tokenizer has neither \[MASK\] nor an unknown piece"):
        hidden(neither)[0]


def test_batch_moves_whole() -> None:
    batch = evaluation_batches(encoded(), batch_tokens=320)[0]
    moved = batch.to("meta")
    for field in dataclasses.fields(LabelledBatch):
        value, was = getattr(moved, field.name), getattr(batch, field.name)
        assert value.device.type == "meta" if isinstance(was, torch.Tensor) else value == was


def test_sizes_must_fit() -> None:
    for second, least in ((None, 3), (["a"], 5)):
        with pytest.raises(UsageError, match=rf"max_seq_len = {least - 1}: must be at least {least}, a piece of each"):
            encode_texts(["a"], second, tokenizer=CHARS, max_seq_len=least - 1)
        assert encode_texts(["ab"], second, tokenizer=CHARS, max_seq_len=least).lengths.tolist() == [least]
    plain = Tokenizer.train(["a"], TokenizerConfig(kind="char", min_frequency=1))
    with pytest.raises(UsageError, match=r"tokenizer has no \[CLS\] and \[SEP\]"):
        encode_texts(["a"], None, tokenizer=plain, max_seq_len=9)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sick", pytest.param("toutiao-titles", marks=pytest.mark.long)])
def test_real_sets_use_every_piece(shared_data: Path, name: str) -> None:
    text: Any = read_labelled(shared_data / name, split="train", config=LabelledConfig())
    tokenizer = Tokenizer.train([line.text for line in text.lines], TokenizerConfig(vocab_size=4000, specials="masked"))
    source = encode_labelled(text, tokenizer=tokenizer, max_seq_len=256)
    assert (source.report.pieces_dropped, source.report.unknown) == (0, 0)
    batches = training_batches(source, batch_tokens=4096, seed=0, epoch=0)
    assert batches.plan.efficiency > 0.97
    assert sum(batch.target_count for batch in load(batches)) == len(text)
    for share in (0.1, 0.4):
        first, second = (rows_of(load(hidden(source, share=share, epoch=epoch, tokens=4096))) for epoch in (0, 1))
        pieces = sum(map(len, first.values())) - (3 if source.rows.pair else 2) * len(text)
        times = [sum(row.count(MASK) for row in rows.values()) / pieces for rows in (first, second)]
        both = sum(a == b == MASK for line in first for a, b in zip(first[line], second[line], strict=True)) / pieces
        # five deviations of a share of so many independent draws
        near = 5 * (share / pieces) ** 0.5
        assert times == pytest.approx([share, share], abs=near)
        assert both == pytest.approx(share**2, abs=near)
