"""Encoded stores: what was written is read, nothing is encoded twice, nothing half done is taken."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.data import store as module
from clearhead.data.corpus import DataConfig, PairFilter, ParallelFiles, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.errors import DataError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

PAIRS = [
    ("你好", "hello"),
    ("一个苹果", "an apple"),
    ("", "nothing"),
    ("你好", "hello"),
    ("再见🙂", "bye bye"),
]
TOKENIZER = Tokenizer.train([text for pair in PAIRS for text in pair], TokenizerConfig(kind="byte_bpe", vocab_size=270))


@pytest.fixture
def files(tmp_path: Path) -> ParallelFiles:
    for side, name in enumerate(("zh", "en")):
        (tmp_path / f"train.{name}").write_text("".join(f"{pair[side]}\n" for pair in PAIRS), encoding="utf-8")
    return read_parallel(tmp_path, stem="train", src="zh", tgt="en")


def build(files: ParallelFiles, **changed: Any) -> PairStore:
    given = {
        "src": TOKENIZER,
        "tgt": TOKENIZER,
        "config": DataConfig(),
        "cache_dir": files.src.parent / "cache",
    }
    return prepare(files, **{**given, **changed})


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the lines that go through the tokenizer."""
    counts: list[int] = []
    plain = PairFilter.__call__

    def counting(self: PairFilter, lines: list[tuple[int, str, str]]) -> Any:
        counts.append(len(lines))
        return plain(self, lines)

    monkeypatch.setattr(PairFilter, "__call__", counting)
    return counts


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_rows_come_back_whatever_the_chunks(files: ParallelFiles, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LINES", chunk)
    progress: list[tuple[int, int]] = []
    store = build(files, keep_text=True, progress=lambda done, total: progress.append((done, total)))
    kept = [0, 1, 4]
    assert len(store) == 3
    assert store.line_numbers.tolist() == [index + 1 for index in kept]
    for row, index in enumerate(kept):
        assert store.src(row).tolist() == TOKENIZER.encode(PAIRS[index][0])
        assert store.tgt(row).tolist() == TOKENIZER.encode(PAIRS[index][1])
        assert store.text(row) == PAIRS[index]
        assert (store.lengths[0][row], store.lengths[1][row]) == (len(store.src(row)), len(store.tgt(row)))
    assert store.lengths[0].dtype == np.int32
    assert progress[-1] == (5, 5)
    assert store.report.dropped == {"empty": 1, "duplicate": 1}
    store.release()
    assert store.tgt(2).tolist() == TOKENIZER.encode("bye bye")


def test_ids_are_as_narrow_as_the_vocabulary_allows(files: ParallelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(files).src(0).dtype == np.uint16
    monkeypatch.setattr(Tokenizer, "vocab_size", 70_000)
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda _, texts: [[69_999, 4]] * len(texts))
    wide = build(files, config=DataConfig(cache=False))
    assert wide.tgt(1).dtype == np.int32
    assert wide.tgt(1).tolist() == [69_999, 4]


def test_a_copy_carries_its_path_alone(files: ParallelFiles) -> None:
    store = build(files)
    data = pickle.dumps(store)
    assert len(data) < 500
    copy = pickle.loads(data)
    assert copy.src(1).tolist() == store.src(1).tolist()
    assert copy.report == store.report


def test_the_same_is_encoded_once(files: ParallelFiles, encoded: list[int]) -> None:
    first = build(files)
    assert build(files, config=DataConfig(workers=3, valid="dev")).path == first.path
    assert encoded == [5]
    assert build(files, config=DataConfig(cache=False)).path == first.path
    assert encoded == [5, 5]


OTHER = Tokenizer.train(["other text"] * 3, TokenizerConfig(kind="char"))


@pytest.mark.parametrize(
    "changed",
    [
        {"src": OTHER},
        {"tgt": OTHER},
        {"keep_text": True},
        {"config": DataConfig(max_len=99)},
        {"config": DataConfig(overlong="split")},
        {"config": DataConfig(max_ratio=9.0)},
        {"config": DataConfig(drop_duplicates=False)},
    ],
    ids=",".join,
)
def test_whatever_decides_the_result_makes_another(files: ParallelFiles, changed: dict[str, Any]) -> None:
    assert build(files, **changed).path != build(files).path


def test_changed_text_of_the_same_size_and_time_is_seen(files: ParallelFiles) -> None:
    first, times = build(files), files.tgt.stat()
    files.tgt.write_text(files.tgt.read_text().replace("hello", "HELLO"))
    os.utime(files.tgt, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = build(files)
    assert second.path != first.path
    assert second.tgt(0).tolist() == TOKENIZER.encode("HELLO")


def test_an_interrupted_build_leaves_nothing(
    files: ParallelFiles, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_LINES", 2)

    def interrupt(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(files, progress=interrupt)
    assert list((files.src.parent / "cache").iterdir()) == []
    assert len(build(files)) == 3
    assert encoded == [2, 2, 2, 2, 1]


def test_a_full_disk_is_one_line(files: ParallelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written to '.*cache': No space left on device"):
        build(files)
    assert list((files.src.parent / "cache").iterdir()) == []


def test_damage_is_refused_by_open_and_mended_by_prepare(files: ParallelFiles, encoded: list[int]) -> None:
    store = build(files)
    ids = store.path / "ids"
    ids.write_bytes(ids.read_bytes()[:-2])
    with pytest.raises(DataError, match="damaged"):
        PairStore(store.path)
    assert len(build(files)) == 3
    (store.path / "meta.json").unlink()
    with pytest.raises(DataError, match=r"cannot be read .*; delete the folder"):
        PairStore(store.path)
    assert len(build(files)) == 3
    assert encoded == [5, 5, 5]


def test_another_format_is_refused(files: ParallelFiles) -> None:
    store = build(files)
    meta = json.loads((store.path / "meta.json").read_text())
    (store.path / "meta.json").write_text(json.dumps({**meta, "format": 0}))
    with pytest.raises(DataError, match="another version"):
        PairStore(store.path)


def test_two_builders_do_not_disturb_each_other(files: ParallelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, raced = Path.rename, []

    def late(self: Path, target: Path) -> Path:
        if not raced:
            raced.append(True)
            build(files)  # the other process is done just before
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert len(build(files)) == 3
    assert len(list((files.src.parent / "cache").iterdir())) == 1


def test_nothing_left_says_why(files: ParallelFiles) -> None:
    files.tgt.write_text("\n" * len(PAIRS))
    with pytest.raises(
        DataError, match=r"no pair of lines is left to use: 5 lines read, 0 kept.*5 dropped, empty"
    ) as e:
        build(files)
    assert "\n" not in str(e.value)


def test_a_real_corpus_survives(shared_data: Path, tmp_path: Path) -> None:
    files = read_parallel(shared_data / "tatoeba-zh-en", stem="valid", src="zh", tgt="en")
    store = build(files, cache_dir=tmp_path)
    report = store.report
    for side, rows in (
        (report.src, map(store.src, range(len(store)))),
        (report.tgt, map(store.tgt, range(len(store)))),
    ):
        assert side.tokens_used == sum(map(len, rows))
        assert side.tokens_in == side.tokens_used + side.tokens_dropped
    for index, (number, src, tgt) in enumerate(files):
        if index < len(store) == 1000:
            assert (store.line_numbers[index], TOKENIZER.decode(store.src(index).tolist())) == (number, src)
            assert TOKENIZER.decode(store.tgt(index).tolist()) == tgt
