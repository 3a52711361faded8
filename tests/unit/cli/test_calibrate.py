"""``clearhead calibrate``: what it learns is kept in the run, for ``translate --confidence`` and in one file."""

import json
import shutil
from pathlib import Path

import pytest

from clearhead.evaluate.translation import score_lines
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.load import load
from tests.native import NATIVE
from tests.toy import assert_one_line, clearhead, demo_lines, write_corpus

TEXTS = ["我吃了一个苹果。", "", "她喝水。我吃了一个苹果。"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("calibrated"), demo_lines(160), held_out=70)


@pytest.fixture(scope="module")
def run(toy_run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = shutil.copytree(toy_run, tmp_path_factory.mktemp("runs") / "run")
    from clearhead.tasks.translation.trust.calibrate import calibrate

    calibrate(copied, data, beam=2)
    return copied


def test_a_run_is_calibrated(
    toy_run: Path, data: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(toy_run, tmp_path / "run")
    said = clearhead(capsys, "translate", run, "我", "--confidence")
    assert_one_line(said, 4, "this model has no calibration: `clearhead calibrate RUN --data DIR` makes one")
    said = clearhead(capsys, "calibrate", run, "--data", data, "--beam", 2)
    assert said.code == 0, said.err
    assert said.out.startswith(f"{run / 'confidence.json'}: from 70 lines of valid, step ")
    assert "correlation with chrF2 by line, each line predicted without itself: Pearson " in said.out
    tree = json.loads(clearhead(capsys, "calibrate", run, "--data", data, "--beam", 2, "--json").out)
    assert tree == {**json.loads((run / "confidence.json").read_text()), "run": str(run), "file": tree["file"]}
    assert_one_line(
        clearhead(capsys, "calibrate", run, "--data", toy_data), 3, "--split valid: has 8 lines of one part"
    )
    (run / "confidence.json").write_text("{}")
    said = clearhead(capsys, "translate", run, "我", "--confidence")
    assert_one_line(said, 4, "confidence.json' is damaged: its keys are others")
    assert clearhead(capsys, "translate", run, "我").code == 0, "who does not ask for it does without"


def test_the_text_of_its_training_tells_nothing(
    run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the files are called, and whichever of several corpora they are; what was learned before stays."""
    before = (run / "confidence.json").read_bytes()
    write_corpus(tmp_path, demo_lines(20), held_out=2)
    for side in ("zh", "en"):
        shutil.copy(toy_data / f"train.{side}", tmp_path / f"other.{side}")
    rule = f"is text that run {str(run)!r} was trained on"
    for data, split in ((toy_data, "train"), (tmp_path, "other")):
        said = clearhead(capsys, "calibrate", run, "--data", data, "--split", split, "--beam", 1)
        assert_one_line(said, 2, f"--split {split}: {rule}")
    copied = shutil.copytree(run, tmp_path / "run")
    report = json.loads((copied / "data-report.json").read_text())
    report["train"]["digest"] = f"00-11+{report['train']['digest']}"
    (copied / "data-report.json").write_text(json.dumps(report))
    said = clearhead(capsys, "calibrate", copied, "--data", toy_data, "--split", "train")
    assert_one_line(said, 2, "--split train: is text that run")
    said = clearhead(capsys, "calibrate", run, "--data", tmp_path, "--split", "train", "--beam", 1)
    assert_one_line(said, 3, "--split train: has 16 lines of one part")  # of another text, of the same name
    assert (run / "confidence.json").read_bytes() == before


def test_every_line_has_a_number(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["translate", run, *TEXTS, "--beam", 2]
    said = clearhead(capsys, *words, "--confidence")
    assert said.code == 0
    assert "confidence" not in said.err, "the search is that of the calibration"
    columns = [line.split("\t", 1) for line in said.out.splitlines()]
    assert "".join(f"{text}\n" for _, text in columns) == clearhead(capsys, *words).out
    assert columns[1] == ["-", ""]
    trees = [json.loads(line) for line in clearhead(capsys, *words, "--confidence", "--json").out.splitlines()]
    found = [tree["translations"][0]["confidence"] for tree in trees]
    assert [columns[0][0], columns[2][0]] == [f"{found[0]:.1f}", f"{found[2]:.1f}"]
    assert found[1] is None
    assert 0 <= min(found[0], found[2]) <= max(found[0], found[2]) <= 100
    ranked = clearhead(capsys, *words[:3], "--beam", 2, "--n-best", 2, "--confidence").out.splitlines()
    assert ranked[0].split("\t")[2:] == columns[0]
    other = clearhead(capsys, *words[:3], "--beam", 1, "--confidence")
    assert other.err == (
        "clearhead: confidence was calibrated with beam 2 and length penalty 1; with others it is less exact\n"
    )


def test_from_python_and_as_measured(run: Path, data: Path, toy_run: Path) -> None:
    translator = Translator.load(run, device="cpu", engine="torch")
    one = translator.translate(TEXTS[0], beam=2)
    assert one.confidence is None
    sure = translator.translate(TEXTS, beam=2, confidence=True)
    assert sure[0] == translator.rated(one)
    assert [each.confidence is None for each in sure] == [False, True, False]
    sources, references = ((data / f"valid.{side}").read_text().splitlines() for side in ("zh", "en"))
    found = translator.translate(sources, beam=2, split="overlong", confidence=True)
    truth = score_lines([each.text for each in found], references)
    assert sum(each.confidence or 0 for each in found) / 70 == pytest.approx(sum(truth) / 70, abs=3)
    from clearhead.errors import ModelError

    with pytest.raises(ModelError, match="has no calibration"):
        Translator.load(toy_run, device="cpu").translate(TEXTS, confidence=True)


@NATIVE
def test_one_file_takes_it_along(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sure.clearhead"
    assert clearhead(capsys, "export", run, "--to", "file", "--out", file).code == 0
    words = [*TEXTS, "--beam", 2, "--confidence"]
    native, by_torch = (clearhead(capsys, "translate", run, *words, "--engine", name) for name in ("native", "torch"))
    assert native.code == 0
    assert native.out == by_torch.out, "one digit is shown"
    assert clearhead(capsys, "translate", file, *words).out == native.out
    again = clearhead(capsys, "translate", file, *words, "--alternatives")
    assert again.code == 0, "a run is made of the file, with all that was learned of it"
    packed = load(file, task="translation")
    assert packed.translate(TEXTS[0], beam=2, confidence=True).confidence is not None


def test_what_is_no_translator_is_one_line(
    toy_lm_run: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clearhead(capsys, "calibrate", toy_lm_run, "--data", tmp_path).code == 4
    assert_one_line(clearhead(capsys, "calibrate", run, "--data", tmp_path), 3, "valid.zh")
    assert clearhead(capsys, "calibrate", run).code == 2
