"""Parallel files: what is found, what is refused and in which words, what is filtered, and the sums."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.config import parse
from clearhead.data.corpus import (
    CorpusReport,
    DataConfig,
    Pair,
    PairFilter,
    ParallelFiles,
    read_parallel,
)
from clearhead.errors import DataError, UsageError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

# one piece a character, and no piece for any other letter
CHARS = Tokenizer.train(["abcdefghij klmnopqrst. ABC!。"] * 2, TokenizerConfig(kind="char", vocab_size=100))


def write(folder: Path, src: bytes, tgt: bytes, stem: str = "train") -> ParallelFiles:
    (folder / f"{stem}.zh").write_bytes(src)
    (folder / f"{stem}.en").write_bytes(tgt)
    return read_parallel(folder, stem=stem, src="zh", tgt="en")


def run(pairs: list[tuple[str, str]], config: DataConfig, *, chunk: int = 3) -> tuple[list[Pair], CorpusReport]:
    sieve = PairFilter(config, files=ParallelFiles(Path("t.zh"), Path("t.en")), src=CHARS, tgt=CHARS)
    lines = [(number, *pair) for number, pair in enumerate(pairs, 1)]
    kept = [pair for start in range(0, len(lines), chunk) for pair in sieve(lines[start : start + chunk])]
    return kept, sieve.finish()


def texts(pairs: list[Pair]) -> list[tuple[int, str, str]]:
    return [(pair.line, pair.src, pair.tgt) for pair in pairs]


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    odd = "a\u2028b\x85c\x0bd\re\x00f"
    files = write(tmp_path, f"{odd}\r\n 你好\t \n".encode(), b"one\r\ntwo")
    assert list(files) == [(1, odd, "one"), (2, " 你好\t ", "two")]
    assert files.scan().lines == 2


def test_byte_order_mark_goes_and_is_reported(tmp_path: Path) -> None:
    files = write(tmp_path, "\ufeff你\n\ufeff好\n".encode(), b"one\ntwo\n")
    assert [src for _, src, _ in files] == ["你", "\ufeff好"]
    assert files.scan().byte_order_marks == ["train.zh"]


def test_packed_and_plain_read_alike(tmp_path: Path) -> None:
    plain = write(tmp_path, "你\n好\n".encode(), b"one\ntwo\n")
    (tmp_path / "gz").mkdir()
    for path in (plain.src, plain.tgt):
        (tmp_path / "gz" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    packed = read_parallel(tmp_path / "gz", stem="train", src="zh", tgt="en")
    assert packed.src.suffix == ".gz"
    assert list(packed) == list(plain)
    assert packed.scan() == plain.scan()


def test_digest_sees_one_changed_byte(tmp_path: Path) -> None:
    first = write(tmp_path, b"one\n", b"two\n").scan().digest
    assert write(tmp_path, b"one\n", b"twO\n").scan().digest != first
    assert write(tmp_path, b"two\n", b"one\n").scan().digest != first
    assert write(tmp_path, b"one\n", b"two\n").scan().digest == first


@pytest.mark.parametrize(
    ("src", "tgt", "words"),
    [
        (b"", b"one\n", r"train\.zh is empty"),
        (b"1\n2\n3\n", b"1\n2", r"train\.zh has 3 lines but .*train\.en has 2: line N"),
        (b"\xff\xfe1\n", b"1\n", r"train\.zh is UTF-16, not UTF-8"),
        (b"1\n2\n", b"1\n2\xe4\xbd\n", r"train\.en line 2: not UTF-8 \(byte 2 of"),
    ],
)
def test_unusable_content_is_named(tmp_path: Path, src: bytes, tgt: bytes, words: str) -> None:
    files = write(tmp_path, src, tgt)
    with pytest.raises(DataError, match=words) as caught:
        files.scan(), list(files)
    assert "\n" not in str(caught.value)


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    def read(stem: str = "train", src: str = "zh", folder: Path = tmp_path) -> ParallelFiles:
        return read_parallel(folder, stem=stem, src=src, tgt="en")

    with pytest.raises(DataError, match="holds no files"):
        read()
    write(tmp_path, b"1\n", b"1\n")
    with pytest.raises(DataError, match=r"trian\.zh: no such file, nor with \.gz; did you mean 'train\.zh'"):
        read("trian")
    with pytest.raises(DataError, match="both 'en'"):
        read(src="en")
    with pytest.raises(DataError, match=r"'.*nowhere' does not exist"):
        read(folder=tmp_path / "nowhere")
    (tmp_path / "train.zh.gz").write_bytes(gzip.compress(b"1\n"))
    with pytest.raises(DataError, match=r"train\.zh and train\.zh\.gz both exist"):
        read()


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"line\n" * 1000, mtime=0)[:-20]])
def test_damaged_gzip_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.zh.gz").write_bytes(content)
    (tmp_path / "train.en").write_bytes(b"1\n")
    with pytest.raises(DataError, match=r"train\.zh\.gz cannot be read"):
        read_parallel(tmp_path, stem="train", src="zh", tgt="en").scan()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress("我吃。\n".encode()), "is gzip, not text"),
        ("我吃了一个苹果。\n".encode("gb18030"), "is GB18030, not UTF-8"),
        ("one\ntwo\nthree\n".encode("utf-16"), "is UTF-16, not UTF-8"),
    ],
)
def test_what_is_no_text_is_said_before_lines_are_counted(tmp_path: Path, content: bytes, what: str) -> None:
    for files in (write(tmp_path, b"a\nb\n", content), write(tmp_path, content, b"a\nb\n")):
        with pytest.raises(DataError, match=what):
            files.scan()


def test_a_pair_is_truncated_between_characters() -> None:
    config = DataConfig(max_len=5, overlong="truncate")
    files = ParallelFiles(Path("src"), Path("tgt"))
    plain = Tokenizer.train(["b"], TokenizerConfig(kind="byte_bpe", vocab_size=260))
    (pair,) = PairFilter(config, files=files, src=plain, tgt=plain)([(1, "我吃了", "xx我")])
    assert [plain.decode(ids) for ids in (pair.src_ids, pair.tgt_ids)] == ["我", "xx我"]


def test_each_reason_to_drop() -> None:
    pairs = [
        ("abc", "abc"),
        ("", "a"),
        ("a", " "),
        ("abc", "abc"),
        ("abcdef", "abcdef"),
        ("abcd", "a"),
        ("ab", "a"),
    ]
    kept, report = run(pairs, DataConfig(max_len=5, max_ratio=3.0))
    assert texts(kept) == [(1, "abc", "abc"), (7, "ab", "a")]
    assert report.dropped == {"empty": 2, "duplicate": 1, "too_long": 1, "ratio": 1}
    assert report.examples == {"empty": [2, 3], "duplicate": [4], "too_long": [5], "ratio": [6]}
    assert (report.read, report.kept, report.pairs) == (7, 2, 2)
    assert run(pairs, DataConfig(max_len=6, drop_duplicates=False))[1].dropped == {"empty": 2}


def test_few_examples_of_many() -> None:
    report = run([("", "")] * 9, DataConfig())[1]
    assert report.examples["empty"] == [1, 2, 3, 4, 5]
    assert "  9 dropped, empty: line 1, 2, 3, 4, 5, ..." in report.lines()


def test_truncate_counts_what_it_cuts() -> None:
    kept, report = run([("abcdef", "ab"), ("a", "a")], DataConfig(max_len=4, overlong="truncate"))
    assert CHARS.decode(kept[0].src_ids) == "abcd"
    assert (report.truncated, report.kept) == (1, 2)
    assert (report.src.tokens_in, report.src.tokens_used, report.src.tokens_dropped) == (7, 5, 2)
    assert (report.tgt.tokens_in, report.tgt.tokens_used, report.tgt.tokens_dropped) == (3, 3, 0)


def test_split_needs_as_many_sentences_on_both_sides() -> None:
    pairs = [
        ("我你。他们。", "Abc. Bcd!"),
        ("我你他们我你他们我", "Abc. Bcd!"),
        ("a", "b"),
        ("我。你他们我你他们我你。", "Abc. Bcde!"),
    ]
    kept, report = run(pairs, DataConfig(max_len=7, overlong="split"))
    assert texts(kept) == [(1, "我你。", "Abc."), (1, "他们。", "Bcd!"), (3, "a", "b")]
    assert (report.split, report.kept, report.pairs) == (1, 2, 3)
    assert report.examples == {"unsplittable": [2, 4]}


def test_error_names_the_longer_side() -> None:
    with pytest.raises(DataError, match=r"t\.en line 2: 6 pieces, more than max_len = 4; overlong"):
        run([("a", "a"), ("abcde", "abcdef")], DataConfig(max_len=4, overlong="error"))


def test_report_counts_unknown_lengths_and_normalization() -> None:
    wide = Tokenizer.train(["abc, "], TokenizerConfig(kind="char", normalization="halfwidth", min_frequency=1))
    sieve = PairFilter(DataConfig(), files=ParallelFiles(Path("a"), Path("b")), src=wide, tgt=CHARS)
    sieve([(number, "ａ，" * number, "aé") for number in range(1, 21)])
    report = sieve.finish()
    assert (report.src.p50, report.src.p95, report.src.longest) == (20, 38, 40)
    assert (report.src.unknown, report.tgt.unknown) == (0, 20)
    assert report.src.changed == {"ａ -> a": 210, "， -> ,": 210, "lines": 20}
    assert report.tgt.changed == {}
    assert any("20 unknown" in line for line in report.lines())
    assert CorpusReport.from_dict(report.as_dict()) == report


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(
    pairs=st.lists(st.tuples(*[st.text(alphabet="ab .。!", max_size=9)] * 2), max_size=30),
    policy=st.sampled_from(["drop", "truncate", "split"]),
    ratio=st.sampled_from([0.0, 1.5]),
    chunk=st.integers(1, 9),
)
def test_every_line_and_piece_is_accounted_for(
    pairs: list[tuple[str, str]], policy: str, ratio: float, chunk: int
) -> None:
    config = parse(DataConfig, {"max_len": 4, "overlong": policy, "max_ratio": ratio}, source="test")
    kept, report = run(pairs, config, chunk=chunk)
    assert report.read == len(pairs) == report.kept + sum(report.dropped.values())
    assert report.pairs == len(kept)
    assert report.kept == len({pair.line for pair in kept})
    for side, ids in (
        (report.src, [pair.src_ids for pair in kept]),
        (report.tgt, [pair.tgt_ids for pair in kept]),
    ):
        assert side.tokens_in == side.tokens_used + side.tokens_dropped
        assert side.tokens_used == sum(map(len, ids))
        assert all(0 < len(row) <= 4 for row in ids)
    if policy != "split":  # which encodes parts, so a sentence end may lose the spaces around it
        assert report.src.tokens_in == sum(len(CHARS.encode(src)) for src, _ in pairs)


@pytest.mark.parametrize("ratio", [0.5, -1.0])
def test_impossible_ratios_are_refused(ratio: float) -> None:
    with pytest.raises(UsageError, match="max_ratio = "):
        parse(DataConfig, {"max_ratio": ratio}, source="recipe")


def test_real_corpus_is_read_whole(shared_data: Path) -> None:
    files = read_parallel(shared_data / "tatoeba-zh-en", stem="valid", src="zh", tgt="en")
    lines = list(files)
    assert len(lines) == files.scan().lines == 1000
    assert all(src and tgt for _, src, tgt in lines)


def test_a_line_without_an_end_is_one_line(tmp_path: Path) -> None:
    """10 GB of zeros are 10 MB of gzip; so is half a gigabyte of one letter, less to make."""
    for name, content in (("zh.gz", gzip.compress(b"a" * (20 << 20), 1)), ("en", b"\0" * (20 << 20))):
        for language in ("zh", "en", "zh.gz"):
            (tmp_path / f"train.{language}").unlink(missing_ok=True)
        (tmp_path / f"train.{name}").write_bytes(content)
        other = tmp_path / f"train.{'en' if name == 'zh.gz' else 'zh'}"
        other.write_bytes(b"a\n")
        files = read_parallel(tmp_path, stem="train", src="zh", tgt="en")
        for read in (files.scan, lambda files=files: list(files)):
            tracemalloc.start()
            with pytest.raises(
                DataError, match=rf"train\.{name}( line 1: longer than 16|: unpacks to more than 16) MiB"
            ):
                read()
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
            tracemalloc.stop()
