"""What ``train`` and ``demo`` share: the report on stderr before the first step; several runs of one recipe."""

import json
import shutil
from pathlib import Path

import pytest

from clearhead.cli import training
from clearhead.config import merge
from clearhead.verbs.train import begin
from tests.toy import CLASSIFY, PAIRS, Said, assert_one_line, clearhead, write_recipe


def test_the_report_says_what_was_read_and_built(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "toy.toml")
    changes = ["tokenizer.joint=false", "model.tie=decoder"]
    with begin(recipe, toy_data, tmp_path / "run", overrides=changes) as begun:
        training.report(begun.job, training.forecast_of(begun.job))
        assert [path.name for path in begun.run.iterdir()] == ["lock"]
    prepared = begun.job
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{PAIRS} lines read, {PAIRS} kept as {PAIRS} pairs" in said.err
    pieces = prepared.tokenizers.src.vocab_size, prepared.tokenizers.tgt.vocab_size
    count = sum(parameter.numel() for parameter in prepared.state.model.parameters())
    assert f"model: {count:,} parameters, {pieces[0]} + {pieces[1]} pieces, on cpu" in said.err
    assert "\nmemory forecast: parameters " in said.err
    assert list(begun.run.iterdir()) == []


def test_encoding_is_told_of_a_large_corpus_only(capsys: pytest.CaptureFixture[str]) -> None:
    training._encoding(5, 200_000)
    training._encoding(20_000, 300_000)
    assert capsys.readouterr().err == "encoded 7% of the text\n"


def several(capsys: pytest.CaptureFixture[str], data: Path, folder: Path, *words: object) -> Said:
    recipe = write_recipe(folder / "classify.toml", CLASSIFY)
    steps = ["--set", "train.max_steps=2", "--out", folder / "runs"]
    return clearhead(capsys, "train", recipe, "--data", data, *steps, *words)


def test_seeds_and_a_comparison_with_no_pretraining(
    toy_classifier: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", toy_classifier, "--seeds", 2, "--compare-scratch"]
    said = several(capsys, labelled, tmp_path, *words)
    assert said.code == 0, said.err
    names = ["seed-0", "seed-1", "scratch-seed-0", "scratch-seed-1"]
    assert said.err.count("memory forecast:") == 1, "the process keeps what the first run freed"
    lines = said.out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == names
    assert lines[4].startswith("2 runs: loss ")
    assert lines[5].startswith("2 runs from scratch: loss ")
    assert lines[6].startswith("gain: loss ")
    assert lines[7] == str(tmp_path / "runs")
    tree = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert tree["gain"]["accuracy"]["mean"] > 0.2, "two steps teach nothing, pretraining has"
    again = several(capsys, labelled, tmp_path, *words, "--resume", "--json")
    assert json.loads(again.out) == tree
    assert "step 1/" not in again.err
    shutil.rmtree(tmp_path / "runs" / "seed-1")
    assert json.loads(several(capsys, labelled, tmp_path, *words, "--resume", "--json").out) == tree
    assert_one_line(several(capsys, labelled, tmp_path, *words), 2, "is taken by something else")


def test_folds_hold_out_every_line_once(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = several(capsys, labelled, tmp_path, "--folds", 3, "--json")
    assert set(json.loads(said.out)["runs"]) == {f"fold-{fold}-seed-0" for fold in range(3)}
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs").glob("*/data-report.json"))]
    assert [(report["train"]["rows"], report["valid"]["rows"]) for report in reports] == [(80, 40)] * 3


def test_what_cannot_be_repeated(
    labelled: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(several(capsys, labelled, tmp_path, "--compare-scratch"), 2, "nothing to compare with")
    said = clearhead(capsys, "train", "demo", "--data", toy_data, "--seeds", 2)
    assert_one_line(said, 2, "are for the task classify, not 'translation'")
    for words in (["--tensorboard"], ["--allow-change", "data"], ["--checkpoint", "best"]):
        assert_one_line(
            several(capsys, labelled, tmp_path, "--seeds", 2, *words), 2, "are for one run, not for several"
        )
    assert not (tmp_path / "runs").exists()


def test_a_run_that_began_elsewhere_goes_on_by_the_same_recipe(
    toy_classifier: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes and tokenizer are those of the trained model, and a recipe that says others is refused."""
    other = merge(CLASSIFY, {"model": {"d_model": 64}, "tokenizer": {"vocab_size": 99}, "start": str(toy_classifier)})
    recipe, out = write_recipe(tmp_path / "tuned.toml", other), tmp_path / "run"
    words = ["train", recipe, "--data", labelled, "--out", out]
    refused = (
        f"model.d_model = 64, tokenizer.vocab_size = 99: start {str(toy_classifier)!r} has 16, 200, and its weights"
    )
    assert_one_line(clearhead(capsys, *words), 2, refused)
    write_recipe(recipe, {key: value for key, value in other.items() if key not in ("model", "tokenizer")})
    assert clearhead(capsys, *words, "--set", "train.max_steps=2").code == 0
    said = clearhead(capsys, *words, "--resume", "--set", "train.max_steps=3", "--json")
    assert json.loads(said.out)["step"] == 3
    said = clearhead(capsys, *words, "--resume", "--set", "model.dropout=0.3")
    assert_one_line(said, 2, "--resume: model.dropout differs from the run's recipe")
