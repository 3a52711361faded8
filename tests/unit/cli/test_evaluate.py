"""``clearhead evaluate``: scores with their signatures, and files that are not there."""

import json
import math
from pathlib import Path

import pytest

from clearhead.config import merge
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.scoring import evaluate_masked
from tests.toy import (
    CLASSIFY,
    HELD_OUT,
    PAIRS,
    assert_one_line,
    clearhead,
    labelled_lines,
    write_labelled,
    write_recipe,
)


def test_scores_as_json_and_the_translations_in_a_file(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", toy_data, "--split", "train", "--beam", "2", "--json", "--output", tmp_path / "out.en"]
    said = clearhead(capsys, "evaluate", toy_run, *words)
    tree = json.loads(said.out)
    assert said.code == 0
    assert (tree["split"], tree["sentences"], tree["loss_pairs"], tree["step"]) == ("train", PAIRS, PAIRS, 120)
    assert tree["bleu"] > 60
    assert tree["chrf"] > 60
    assert 0 < tree["loss"] < 1
    assert "tok:13a" in tree["bleu_signature"]
    assert "version:" in tree["chrf_signature"]
    written = (tmp_path / "out.en").read_text(encoding="utf-8").splitlines()
    expected = (toy_data / "train.en").read_text(encoding="utf-8").splitlines()
    equal = sum(a == b for a, b in zip(written, expected, strict=True))
    assert tree["exact_match"] == pytest.approx(100 * equal / PAIRS)


def test_scores_for_a_person(toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "evaluate", toy_run, "--data", toy_data, "--beam", "1", "--tokenize", "char")
    assert said.code == 0
    assert said.out.startswith(f"test: {HELD_OUT} sentences, step 120, beam 1\nBLEU ")
    assert "tok:char" in said.out
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["BLEU", "chrF2", "exact", "loss", "speed"]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--split", "tset"], 3, "tset.zh: no such file, nor with .gz; did you mean 'test.zh'?"),
        (["--data", "nowhere"], 3, "data folder 'nowhere' does not exist"),
        (["--tokenize", "13b"], 2, "13b"),
        (["--checkpoint", "wrost"], 4, "has no checkpoint 'wrost'"),
    ],
)
def test_what_cannot_be_scored(
    words: list[str], code: int, part: str, toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(clearhead(capsys, "evaluate", toy_run, "--data", toy_data, *words), code, part)


def test_an_output_that_cannot_be_written(toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", toy_data, "--beam", "1", "--output", toy_run / "recipe.toml" / "out"]
    assert_one_line(clearhead(capsys, "evaluate", toy_run, *words), 3, "cannot be written")


def test_masked_pieces_and_pairs(toy_masked_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", toy_masked_run.parent / "data", "--split", "valid"]
    tree = json.loads(clearhead(capsys, "evaluate", toy_masked_run, *words, "--json").out)
    found = evaluate_masked(MaskedModel.load(toy_masked_run), toy_masked_run.parent / "data", "valid").scores
    assert (tree["step"], tree["pieces"], tree["pairs"]) == (150, found.pieces, found.pairs)
    assert tree["pseudo_perplexity"] == pytest.approx(math.exp(tree["loss"]))
    assert tree["mlm_accuracy"] == found.mlm_accuracy
    said = clearhead(capsys, "evaluate", toy_masked_run, *words)
    assert said.out.startswith(f"valid: {found.pieces} masked pieces, {found.pairs} pairs, step 150\nloss ")
    names = ["loss", "pseudo-perplexity", "MLM", "NSP", "speed"]
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == names
    assert f"{found.mlm_accuracy:.2%}" in said.out
    said = clearhead(capsys, "evaluate", toy_masked_run, *words[:3], "tset")
    assert_one_line(said, 2, "--split 'tset': must be one of train, valid, test")


def test_what_a_classifier_confuses(
    toy_classifier: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [toy_classifier, "--data", labelled, "--split", "valid"]
    said = clearhead(capsys, "evaluate", *words, "--output", tmp_path / "confusion.png")
    lines = said.out.splitlines()
    assert lines[0].startswith("valid: 30 lines, step ")
    assert lines[1].startswith("accuracy ")
    assert lines[2].startswith("calibration error ")
    assert [line.split()[0] for line in lines[4:6]] == ["bad", "good"]
    assert lines[7].startswith("true \\ given")
    assert lines[-1].endswith(" lines per second")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    tree = json.loads(clearhead(capsys, "evaluate", *words, "--json").out)
    assert (tree["lines"], tree["truncated"]) == (30, 0)
    assert sum(map(sum, tree["confusion"])) == 30
    assert f"accuracy {tree['accuracy']:.4f}" in said.out
    for output in (tmp_path / "confusion.nothing", tmp_path / "no" / "confusion.png"):
        assert_one_line(clearhead(capsys, "evaluate", *words, "--output", output), 3, "cannot be written")


@pytest.mark.long
def test_numbers_have_no_confusion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{len(line)}\t{line.partition(chr(9))[2]}" for line in labelled_lines(40)]
    data, tree = write_labelled(tmp_path / "data", lines, lines[:9]), merge(CLASSIFY, {"data": {"kind": "number"}})
    recipe, out = write_recipe(tmp_path / "numbers.toml", tree), tmp_path / "run"
    assert clearhead(capsys, "train", recipe, "--data", data, "--out", out, "--set", "finetune.epochs=1").code == 0
    words = [out, "--data", data, "--split", "valid"]
    assert "\nPearson " in clearhead(capsys, "evaluate", *words).out
    assert set(json.loads(clearhead(capsys, "evaluate", *words, "--json").out)) > {"pearson", "spearman", "mse", "loss"}
    said = clearhead(capsys, "evaluate", *words, "--output", tmp_path / "x.png")
    assert_one_line(said, 2, "--output: numbers have no confusion matrix to draw")
    (line,) = clearhead(capsys, "classify", out, "the film was great").out.splitlines()
    assert float(line)


def test_each_direction_has_its_scores(two_ways: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their mean; one of them alone, from the folder of the corpora or its own; what is not there is told."""
    run, shared = two_ways / "run", ["--split", "train", "--beam", "1", "--json"]
    both = json.loads(clearhead(capsys, "evaluate", run, "--data", two_ways, *shared).out)
    one, other = (both["corpora"][name] for name in ("one", "other"))
    assert both["bleu"] == pytest.approx((one["bleu"] + other["bleu"]) / 2)
    assert other["bleu_signature"].count("tok:zh") == 1
    assert one["bleu_signature"].count("tok:13a") == 1
    for folder in (two_ways, two_ways / "other"):
        words = ["--data", folder, "--to", "zh", *shared, "--output", tmp_path / "out.zh"]
        tree = json.loads(clearhead(capsys, "evaluate", run, *words).out)
        alone = tree["corpora"]["other"] if folder == two_ways else tree
        assert (alone["bleu"], alone["loss"]) == (other["bleu"], other["loss"])
    assert len((tmp_path / "out.zh").read_text(encoding="utf-8").splitlines()) == other["sentences"]
    said = clearhead(capsys, "evaluate", run, "--data", two_ways, "--split", "train", "--beam", "1")
    assert f"mean of 2: BLEU {both['bleu']:.2f}" in said.out
    assert_one_line(clearhead(capsys, "evaluate", run, "--data", two_ways, "--to", "fr"), 2, "to = 'fr'")
    assert_one_line(clearhead(capsys, "evaluate", run, "--data", two_ways, "--split", "dev"), 3, "one/dev.zh")
