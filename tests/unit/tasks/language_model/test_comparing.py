"""Language models side by side: the whole is the sum of its stretches, by position, and intervals of what differs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.evaluate.paired import compared
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.comparing import (
    FEWEST_DOCUMENTS,
    RATES,
    STRETCH,
    TextRate,
    compare_language_model,
    loss_by_position,
    piece_losses,
    stretches,
)
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.scoring import evaluate_language_model, read_split
from clearhead.verbs.compare import compare_runs
from clearhead.verbs.load import load_language_model
from clearhead.verbs.train import train_run
from tests.language import TREES, losses_of, write_runs


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of a line each, more than are needed."""
    folder = tmp_path_factory.mktemp("lines")
    for split, first in (("train", 0), ("valid", 1000)):
        numbers = range(first, first + FEWEST_DOCUMENTS + 5)
        (folder / f"{split}.txt").write_text("".join(f"{number} cats, 猫 {number}\n" for number in numbers), "utf-8")
    return folder


@pytest.fixture(scope="module")
def of_lines(lines: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    more: dict[str, Any] = {"data": {"separator": "line", "packing": "isolated"}}
    return write_runs(tmp_path_factory.mktemp("of_lines"), lines, more)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document of several stretches."""
    path = tmp_path_factory.mktemp("long") / "long.txt"
    path.write_text("".join(f"the cat sat on mat {number}.\n" for number in range(4000)), encoding="utf-8")
    return path


@pytest.mark.parametrize("task", TREES)
def test_position_by_position(task: str, runs: dict[str, Path], text: Path) -> None:
    model = load_language_model(runs[task], device="cpu")
    stream = read_split(model, text, "valid")
    ids = [model.tokenizer.ids.eos, *stream.ids.tolist()]
    windows = [losses_of(model, ids[at : at + 7]) for at in range(0, len(stream) // 6 * 6, 6)]
    np.testing.assert_allclose(loss_by_position(model, stream, width=6), np.mean(windows, axis=0), rtol=1e-4)


@pytest.mark.parametrize("task", ["language_model", "rnn_language_model"])
def test_a_shorter_context_makes_shorter_windows(task: str, runs: dict[str, Path], text: Path) -> None:
    model = load_language_model(runs[task], device="cpu")
    assert isinstance(model, LanguageModel)
    assert loss_by_position(model, read_split(model, text, "valid")).shape == (8,)


@pytest.mark.parametrize("task", TREES)
def test_the_whole_is_what_evaluate_says(
    task: str, runs: dict[str, Path], of_lines: dict[str, Path], text: Path, lines: Path
) -> None:
    for run, data in ((runs[task], text), (of_lines[task], lines)):
        model = load_language_model(run, device="cpu")
        scores = evaluate_language_model(model, data, "valid").scores
        found = compare_language_model(model, data, "valid")
        expected = {
            "bits a byte": scores.bits_per_byte,
            "nats a character": scores.nats_per_character,
            "word perplexity": scores.word_perplexity,
        }
        for name in RATES:
            metric, counts = found.counts[name]
            assert found.scores[name] == pytest.approx(expected[name], rel=1e-5)
            if data == text:  # of which no end marks are in a stretch
                assert metric.score(counts) == pytest.approx(expected[name], rel=1e-5)


def test_a_stretch_counts_its_own_document(of_lines: dict[str, Path], lines: Path) -> None:
    model = load_language_model(of_lines["language_model"], device="cpu")
    stream = read_split(model, lines, "valid")
    _, counts = compare_language_model(model, lines, "valid").counts["bits a byte"]
    assert len(counts) == FEWEST_DOCUMENTS + 5
    assert counts[3].tolist()[1:] == [len("1003 cats, 猫 1003".encode()), len("1003 cats, 猫 1003"), 4]
    begin, end = stream.starts[3], stream.starts[4]
    ids = [model.tokenizer.ids.eos, *stream.ids[begin:end].tolist()]
    assert counts[3, 0] == pytest.approx(piece_losses(model, stream)[begin:end].sum())
    first = losses_of(model, ids[:9])  # the context: what a first window scores
    np.testing.assert_allclose(piece_losses(model, stream)[begin : begin + 8], first, rtol=1e-4)


def test_a_text_of_one_document_is_cut_into_stretches(runs: dict[str, Path], long: Path) -> None:
    model = load_language_model(runs["ngram"], device="cpu")
    stream = read_split(model, long, "valid")
    found = stretches(model, stream, long, "valid")
    assert found is not None
    starts, sizes = found
    assert sizes[:, 1].sum() == stream.report.characters
    assert sizes[:, 2].sum() == stream.report.words + stream.report.line_feeds
    assert (sizes[:-1, 1] >= STRETCH).all()
    assert starts.tolist() == np.append(0, np.cumsum(sizes[:-1, 1])).tolist()  # a piece is a character here


def test_pieces_that_may_reach_over_a_border_have_no_interval(long: Path, tmp_path: Path) -> None:
    tree: dict[str, Any] = {**TREES["ngram"], "task": "ngram", "tokenizer": {"kind": "unigram", "vocab_size": 60}}
    train_run(prepare_job(tree, "here", long), tmp_path)
    model = load_language_model(tmp_path, device="cpu")
    assert stretches(model, read_split(model, long, "valid"), long, "valid") is None
    assert compare_language_model(model, long, "valid").counts == {}


def test_rates_by_hand() -> None:
    counts = np.array([[2.0, 10, 8, 2], [4.0, 20, 16, 2]])
    assert TextRate("bits a byte").score(counts) == pytest.approx(6 / math.log(2) / 30)
    assert TextRate("nats a character").score(counts) == pytest.approx(0.25)
    assert TextRate("word perplexity").score(counts) == pytest.approx(math.exp(1.5))
    worse = counts * [1.5, 1, 1, 1]
    found = compared(TextRate("nats a character"), counts, worse)
    assert found.difference == pytest.approx(0.125)
    assert found.interval[0] == pytest.approx(0.125)  # every stretch costs half as much again


def test_runs_of_other_vocabularies_have_an_interval(of_lines: dict[str, Path], lines: Path) -> None:
    found = compare_runs([of_lines["ngram"], of_lines["language_model"]], lines, split="valid")
    difference = found.runs[1].against_first["nats a character"]
    low, high = difference.interval
    assert low <= difference.difference <= high
    first, second = (run.scores["nats a character"] for run in found.runs)
    assert first is not None
    assert second is not None
    assert difference.difference == pytest.approx(second - first, rel=1e-3)
