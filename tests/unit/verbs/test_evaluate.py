"""Scores of a run of any family: those that its family gives, at the step of the weights."""

from pathlib import Path

import pytest
import torch

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.runs.opened import SavedRun
from clearhead.runs.recipes import load_recipe
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.family import EvaluationOptions
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.translator import Translator
from clearhead.training.job import GradientJob
from clearhead.verbs.evaluate import evaluate_run


def test_scores_are_those_of_the_family(toy_run: Path, toy_data: Path) -> None:
    step, evaluation = evaluate_run(toy_run, toy_data, "test", EvaluationOptions(beam=2), device="cpu")
    expected = evaluate_translator(Translator.load(toy_run, device="cpu"), toy_data, "test", beam=2)
    assert step == 120
    assert evaluation.as_dict()["bleu"] == expected.scores.bleu
    assert evaluation.lines(step)[0] == f"test: {expected.sentences} sentences, step 120, beam 2"


def test_every_family_is_scored(
    toy_lm_run: Path, toy_baselines: dict[str, Path], toy_classifier: Path, labelled: Path
) -> None:
    data = toy_lm_run.parent / "data"
    for run, folder in [*((run, data) for run in toy_baselines.values()), (toy_classifier, labelled)]:
        step, evaluation = evaluate_run(run, folder, "valid", EvaluationOptions(), device="cpu")
        assert step > 0
        assert evaluation.as_dict()["loss"] > 0


def test_training_and_evaluate_give_one_score(
    toy_run: Path,
    toy_data: Path,
    toy_lm_run: Path,
    toy_masked_run: Path,
    toy_classifier: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scores of a checkpoint on the valid split, in training and later; the second time no cache can be written."""
    (tmp_path / "file").write_text("no folder")
    width = load_recipe(toy_lm_run)["model"]["max_seq_len"]
    options = EvaluationOptions(beam=1, stride=width)  # as in training: greedy, windows that do not overlap
    folders = {toy_run: toy_data, toy_classifier: labelled}
    for run in (toy_run, toy_lm_run, toy_masked_run, toy_classifier):
        folder = folders.get(run, run.parent / "data")
        job = prepare_job(load_recipe(run), "here", folder, run=run)
        assert isinstance(job, GradientJob)
        SavedRun.open(run).load_into(job.model)
        with torch.inference_mode():
            scores = job.evaluate(job.model.eval())
        with monkeypatch.context() as patched:
            patched.setenv("CLEARHEAD_CACHE", str(tmp_path / "file"))
            _, evaluation = evaluate_run(run, folder, "valid", options, device="cpu")
        later = evaluation.as_dict()
        assert scores["loss"] > 0
        assert {name: later[name] for name in scores} == pytest.approx(dict(scores), rel=1e-5), run


def test_what_is_wrong_is_said(toy_baselines: dict[str, Path], toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stride = 4: an n-gram model reads no windows, leave it out"):
        evaluate_run(toy_baselines["ngram"], tmp_path, "valid", EvaluationOptions(stride=4))
    with pytest.raises(ModelError, match="has no checkpoint 'step-9'"):
        evaluate_run(toy_run, tmp_path, "test", EvaluationOptions(), checkpoint="step-9")


def test_a_missing_test_split_suggests_the_valid_one(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    for name in ("valid.zh", "valid.en"):
        (tmp_path / name).write_bytes((toy_data / name).read_bytes())
    with pytest.raises(
        DataError, match=r"no such file.*; without test lines, --split valid scores those of validation"
    ):
        evaluate_run(toy_run, tmp_path, "test", EvaluationOptions(beam=1))
    with pytest.raises(DataError, match="no such file") as error:
        evaluate_run(toy_run, tmp_path, "other", EvaluationOptions(beam=1))
    assert "--split valid" not in str(error.value)
    assert "--split valid" in (toy_run / "README.md").read_text(encoding="utf-8")
