"""A filtered corpus has the lines that stay, as they were, and the report counts all others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clearhead.data.corpora.report import CorpusReport
from clearhead.errors import DataError, UsageError
from clearhead.runs.lock import locked
from clearhead.verbs.corpora.filter import best_lines, filter_corpus


@pytest.fixture
def dirty(toy_data: Path, tmp_path: Path) -> Path:
    """The toy corpus, with eight pairs of it mixed up and some that are wrong at sight."""
    zh, en = ((toy_data / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("zh", "en"))
    folder = tmp_path / "dirty"
    folder.mkdir()
    zh += [*zh[:8], "我喝水。", "", zh[3]]
    en += [*en[20:28], "我喝水。", "nothing", en[3]]
    for side, lines in (("zh", zh), ("en", en)):
        (folder / f"train.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_bad_pairs_go(toy_run: Path, dirty: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    filters = ["data.filters.copies=true", "data.filters.script=0.5"]
    filtered = filter_corpus(toy_run, dirty, out, keep=40 / 48, overrides=filters, device="cpu")
    report = filtered.report
    assert report.read == 51
    assert report.kept == report.pairs == 40
    assert report.dropped == {"copy": 1, "empty": 1, "duplicate": 1, "score": 8}
    assert report.examples["score"] == [41, 42, 43, 44, 45]  # the pairs that were mixed up
    assert report.src.tokens_in == report.src.tokens_used + report.src.tokens_dropped
    assert filtered.least is not None
    assert filtered.least < 0
    assert filtered.lines()[-1] == f"  the worst score kept is {filtered.least:.3f}"
    for side in ("zh", "en"):
        lines = (dirty / f"train.{side}").read_text(encoding="utf-8").splitlines()
        assert (out / f"train.{side}").read_text(encoding="utf-8").splitlines() == lines[:40]
    assert CorpusReport.from_dict(json.loads((out / "corpus.json").read_bytes())) == report
    assert not (tmp_path / "clean.unfinished").exists()
    with pytest.raises(UsageError, match="clean': exists; name another folder"):
        filter_corpus(toy_run, dirty, out, device="cpu")


def test_a_corpus_that_back_translate_has_begun_is_left_alone(toy_run: Path, dirty: Path, tmp_path: Path) -> None:
    half = tmp_path / "bt.unfinished"
    half.mkdir()
    (half / "corpus.json").write_text('{"of": 3, "settings": {}, "lines": 1}', encoding="utf-8")
    (half / "train.zh").write_text("a\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"bt': back-translate has begun 'bt.unfinished'; finish it, delete it"):
        filter_corpus(toy_run, dirty, tmp_path / "bt", device="cpu")
    assert (half / "train.zh").read_text(encoding="utf-8") == "a\n"
    (half / "corpus.json").unlink()
    with locked(half), pytest.raises(UsageError, match=r"bt.unfinished' is in use by"):
        filter_corpus(toy_run, dirty, tmp_path / "bt", device="cpu")
    assert (half / "train.zh").read_text(encoding="utf-8") == "a\n"
    filter_corpus(toy_run, dirty, tmp_path / "bt", device="cpu")  # what a filter left that was killed is written anew
    assert sorted(path.name for path in (tmp_path / "bt").iterdir()) == ["corpus.json", "train.en", "train.zh"]


def test_without_a_folder_it_says_what_would_go(toy_run: Path, dirty: Path) -> None:
    before = sorted(dirty.parent.rglob("*"))
    filtered = filter_corpus(toy_run, dirty, overrides=["data.filters.min_len=3"], device="cpu")
    assert filtered.report.dropped["duplicate"] == 1
    assert filtered.least is None
    assert sorted(dirty.parent.rglob("*")) == before
    lax = filter_corpus(toy_run, dirty, overrides=["data.drop_duplicates=false"], device="cpu")
    assert lax.report.dropped == {"empty": 1}


def test_both_directions_score(two_ways: Path, tmp_path: Path) -> None:
    """Of pairs that a run knows in both directions, and some that are mixed up, the former stay."""
    run, folder = two_ways / "run", tmp_path / "mixed"
    folder.mkdir()
    zh, en = ((two_ways / "other" / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("zh", "en"))
    for side, lines in (("zh", [*zh, *zh[:6]]), ("en", [*en, *en[6:12]])):
        (folder / f"train.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    filtered = filter_corpus(run, folder, tmp_path / "clean", keep=0.8, back=run, to="en", device="cpu")
    assert (filtered.report.kept, filtered.report.dropped) == (24, {"score": 6})
    assert (tmp_path / "clean" / "train.en").read_text(encoding="utf-8").splitlines() == en
    assert filtered.report.examples["score"] == [25, 26, 27, 28, 29]


def test_what_is_wrong_is_told(toy_run: Path, toy_lm_run: Path, dirty: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="say how many lines stay with --keep"):
        filter_corpus(toy_run, dirty, back=toy_run, device="cpu")
    with pytest.raises(UsageError, match="--set model: a filter has the keys of data alone"):
        filter_corpus(toy_run, dirty, overrides=["model.d_model=3"], device="cpu")
    with pytest.raises(UsageError, match=r"filters.copy"):
        filter_corpus(toy_run, dirty, overrides=["data.filters.copy=true"], device="cpu")
    with pytest.raises(DataError, match="none is left"):
        filter_corpus(toy_run, dirty, tmp_path / "clean", keep=0.001, device="cpu")
    assert not (tmp_path / "clean").exists()
    shutil.rmtree(dirty)
    with pytest.raises(DataError, match="does not exist"):
        filter_corpus(toy_run, dirty, device="cpu")


def test_the_first_of_equal_lines_stays() -> None:
    scores, kept = np.array([-1.0, -2.0, -1.0, -1.0, -0.5]), np.array([True, True, True, True, False])
    best, least = best_lines(scores, kept, 0.5)
    assert best.tolist() == [True, False, True, False, False]
    assert least == -1.0
