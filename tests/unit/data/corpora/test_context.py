"""Context: the line before as it stands in the file, its last pieces where not all fits, and what is counted of it."""

from pathlib import Path

import numpy as np
import pytest

from clearhead.data.batching import plan_batches
from clearhead.data.corpora.context import CONTEXT, Pair, fitted
from clearhead.data.corpora.joined import EncodedCorpus, JoinedPairs
from clearhead.data.corpora.mixture import ParallelCorpus
from clearhead.data.corpora.report import CorpusReport
from clearhead.data.corpus import DataConfig, PairFilter, ParallelFiles, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.data.translation import BatchDataset
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

# one piece a character
CHARS = Tokenizer.train(["abcdefghij klmnopqrst."] * 2, TokenizerConfig(kind="char", vocab_size=100, marks=(CONTEXT,)))
BYTES = Tokenizer.train(["我们", "ab ab"], TokenizerConfig(vocab_size=262, marks=(CONTEXT,), dropout=0.5))
MARK = "<ctx>"


def read(text: str) -> str:
    """The pieces of a text in a row."""
    return "".join(CHARS.piece(index) for index in CHARS.encode(text))


def filtered(
    lines: list[tuple[str, str]], *, chunk: int = 100, **settings: object
) -> tuple[list[tuple[int, str, str]], CorpusReport]:
    """Returns the line number, the context and the source of each pair, as text."""
    config = DataConfig(**{"max_len": 8, "context": 1, **settings})  # type: ignore[arg-type]
    sieve = PairFilter(config, files=ParallelFiles(Path("t.zh"), Path("t.en")), src=CHARS, tgt=CHARS)
    numbered = [(number, *pair) for number, pair in enumerate(lines, 1)]
    kept = [pair for at in range(0, len(lines), chunk) for pair in sieve(numbered[at : at + chunk])]
    shown = ["".join(map(CHARS.piece, pair.context)) for pair in kept]
    pairs = zip(kept, shown, strict=True)
    return [(pair.line, before, CHARS.decode(pair.src_ids)) for pair, before in pairs], sieve.finish()


@pytest.mark.parametrize(
    ("own", "most", "kept"),
    [(3, 9, "abcde"), (3, 8, "bcde"), (3, 5, "e"), (3, 4, ""), (3, 3, ""), (9, 3, ""), (0, 6, "abcde")],
)
def test_what_does_not_fit_is_cut_at_the_left(own: int, most: int, kept: str) -> None:
    found = fitted(CHARS.encode("abcde"), own, most=most, tokenizer=CHARS)
    assert "".join(map(CHARS.piece, found)) == (kept + MARK if kept else "")
    assert own > most or not found or own + len(found) <= most


def test_nothing_stands_before_nothing() -> None:
    assert fitted([], 2, most=9, tokenizer=CHARS) == []


def test_no_character_is_cut() -> None:
    """A character of three bytes, each a piece, goes or stays as a whole."""
    ids = BYTES.encode("啊ab")
    assert len(ids) == 4
    kept = [BYTES.decode(fitted(ids, 1, most=most, tokenizer=BYTES)) for most in range(2, 8)]
    assert kept == ["", "ab", "ab", "ab", "啊ab", "啊ab"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_it_is_the_line_before_in_the_file_whatever_became_of_that(chunk: int) -> None:
    lines = [
        ("a", "a"),
        (" b ", "b"),
        ("a", "a"),  # is dropped, and stands before the next
        ("c", "c"),
        ("d", ""),  # likewise
        ("e", "e"),
        ("abcdefghij", "x"),  # too long: likewise
        ("f", "f"),
        (" ", " "),
        ("g", "g"),
        ("", "x"),
        ("h", "h"),
    ]
    pairs, report = filtered(lines, chunk=chunk)
    assert [(line, before) for line, before, _ in pairs] == [
        (1, ""),
        (2, f"a{MARK}"),
        (4, f"a{MARK}"),
        (6, f"d{MARK}"),
        (8, f"defghij{MARK}"[1:]),
        (10, ""),
        (12, ""),
    ]
    assert report.dropped == {"duplicate": 1, "empty": 3, "too_long": 1}
    assert (report.with_context, report.shortened, report.without_room) == (4, 1, 0)
    assert (
        report.lines()[4]
        == "  4 pairs are read with the line before; 1 of these cut at its left, 0 have no room for it"
    )


def test_white_space_around_a_line_does_not_count() -> None:
    assert filtered([(" b ", "b"), ("c", "c")])[0][1] == (2, f"b{MARK}", "c")


def test_duplicates_are_of_lines_alone() -> None:
    """The same line behind another one is still the same line; kept where duplicates are."""
    lines = [("a", "a"), ("t", "t"), ("b", "b"), ("t", "t")]
    assert len(filtered(lines)[0]) == 3
    pairs, report = filtered(lines, drop_duplicates=False)
    assert [before for _, before, text in pairs if text == "t"] == [f"a{MARK}", f"b{MARK}"]
    assert report.src.tokens_used == 4, "what is read before a line is not counted as text"


def test_no_line_gives_way() -> None:
    pairs, report = filtered([("abc", "a"), ("abcdefg", "b"), ("abcdefgh", "c"), ("ab", "d")])
    assert pairs == [(1, "", "abc"), (2, "", "abcdefg"), (3, "", "abcdefgh"), (4, f"defgh{MARK}", "ab")]
    assert (report.with_context, report.shortened, report.without_room) == (1, 1, 2)


def test_parts_of_a_line_stand_before_one_another() -> None:
    lines = [("t", "t"), ("abc. def. gh.", "abc. def. gh.")]
    pairs, _ = filtered(lines, overlong="split")
    assert pairs[1:] == [(2, f"t{MARK}", "abc."), (2, f"bc.{MARK}", "def."), (2, f"def.{MARK}", "gh.")]
    (_, before, text) = filtered(lines, overlong="truncate")[0][1]
    assert (before, text) == ("", "abc. def")


def store(folder: Path, lines: list[str], tokenizer: Tokenizer = CHARS, **settings: object) -> PairStore:
    folder.mkdir(exist_ok=True)
    for side in ("zh", "en"):
        (folder / f"train.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    files = read_parallel(folder, stem="train", src="zh", tgt="en")
    config = DataConfig(**{"max_len": 8, "context": 1, **settings})  # type: ignore[arg-type]
    return prepare(
        files, src=tokenizer, tgt=tokenizer, config=config, cache_dir=folder / "cache", keep_text=tokenizer is BYTES
    )


def test_a_store_reads_them_together_and_apart(tmp_path: Path) -> None:
    lines, mark = ["abc", "de", "", "fghij", "k"], CHARS.marks[CONTEXT]
    pairs = store(tmp_path / "text", lines)
    first, second, third, last = (CHARS.encode(line) for line in lines if line)
    assert [pairs.src(row).tolist() for row in range(4)] == [
        first,
        [*first, mark, *second],
        third,
        [*third, mark, *last],
    ]
    assert [pairs.line(row).tolist() for row in range(4)] == [first, second, third, last]
    assert [pairs.context(row) for row in range(4)] == [[], [*first, mark], [], [*third, mark]]
    assert [pairs.lead(row) for row in range(4)] == [pairs.context(row) for row in range(4)]
    assert pairs.lengths[0].tolist() == [3, 6, 5, 7]
    assert pairs.line_lengths[0].tolist() == [3, 2, 5, 1]
    assert pairs.lengths[1].tolist() == pairs.line_lengths[1].tolist() == [3, 2, 5, 1]
    assert PairStore(pairs.path).src(1).tolist() == pairs.src(1).tolist()
    without = store(tmp_path / "text", lines, context=0)
    assert without.path != pairs.path
    assert not (without.path / "context").exists()
    assert [without.src(row).tolist() for row in range(4)] == [first, second, third, last]
    assert without.report.with_context == 0


def test_tags_stand_before_all(tmp_path: Path) -> None:
    pairs, tag = store(tmp_path / "text", ["abc", "de"]), 7
    joined = JoinedPairs([EncodedCorpus(ParallelCorpus(), pairs, (tag,))])
    assert joined.src(1).tolist() == [tag, *pairs.src(1).tolist()]
    assert joined.line(1).tolist() == [tag, *pairs.line(1).tolist()]
    assert joined.lead(1) == [tag, *pairs.context(1)]
    assert joined.lengths[0].tolist() == [4, 7]
    assert joined.line_lengths[0].tolist() == [4, 3]


def test_with_bpe_dropout_the_line_is_drawn_and_the_context_stays(tmp_path: Path) -> None:
    """And both still fit together: a random segmentation that does not is not taken."""
    before, own = (len(BYTES.encode(text)) for text in ("ab ab ab", "ab ab"))
    most = before + 1 + own + 1
    pairs = store(tmp_path / "text", ["ab ab ab", "ab ab"], BYTES, max_len=most)
    context, seen = pairs.context(1), set[int]()
    assert len(context) == before + 1
    for epoch in range(20):
        plan = plan_batches(*pairs.lengths, batch_tokens=60, seed=0, epoch=epoch)
        for batch in BatchDataset(pairs, plan, (BYTES, BYTES), most):
            rows = zip(batch.src_ids.tolist(), batch.indices.tolist(), strict=True)
            for row in [row for row, index in rows if index == 1]:
                size = row.index(BYTES.ids.eos)
                assert row[: len(context)] == context
                assert BYTES.decode(row[len(context) : size]) == "ab ab"
                seen.add(size)
    assert seen == {most - 1, most}


def test_ids_are_as_wide_as_the_vocabulary(tmp_path: Path) -> None:
    pairs = store(tmp_path / "text", ["abc", "de"])
    assert pairs.src(1).dtype == pairs.line(1).dtype == np.uint16


def test_a_pair_has_none_by_itself() -> None:
    assert Pair(1, "a", "b", [4], [5]).context == ()
