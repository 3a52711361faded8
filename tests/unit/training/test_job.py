"""What all jobs share: files in the run, the frame of the model card."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearhead.config import merge, read_toml
from clearhead.errors import UsageError
from clearhead.nn.lora import LoraConfig
from clearhead.tasks.catalog import prepare_job
from clearhead.training import job as job_module
from clearhead.training.job import GradientJob, fresh_state
from clearhead.training.precision import Decision, Precision
from tests.toy import CLASSIFY, LANGUAGE_MODEL, MASKED, RECIPE

ALONE = {"masked": {"next_sentence": False}}


def test_a_run_keeps_recipe_tokenizer_and_reports(toy_data: Path, tmp_path: Path) -> None:
    job = prepare_job(RECIPE, "here", toy_data)
    job.save(tmp_path)
    assert read_toml(tmp_path / "recipe.toml")["tgt"] == "en"
    assert (tmp_path / "tokenizer" / "joint.json").is_file()
    reports = json.loads((tmp_path / "data-report.json").read_text(encoding="utf-8"))
    assert set(reports) == {"train", "valid"}


def test_a_job_knows_what_its_scores_depend_on(toy_data: Path, labelled: Path, tmp_path: Path) -> None:
    for path in toy_data.glob("*.en"):
        shutil.copy(path, tmp_path / f"{path.stem}.txt")
    texts = {"masked": tmp_path, "language_model": tmp_path, "classify": labelled}
    for tree in (RECIPE, LANGUAGE_MODEL, merge(MASKED, ALONE | {"data": {"separator": "line"}}), CLASSIFY):
        folder = texts.get(str(tree.get("task")), toy_data)
        job = prepare_job(merge(tree, {"validation": {"monitor": "loss"}}), "here", folder)
        assert isinstance(job, GradientJob)
        keys = job.state.judged_on
        assert keys["the text of the valid split"] == job.reports()["valid"].as_dict()["digest"] != ""
        assert keys["validation.monitor"] == "loss"
        assert [key for key, value in keys.items() if value is None] == [], "a key that the recipe does not have"
        assert json.loads(json.dumps(keys)) == keys


def test_a_card_of_a_run_that_has_not_begun(toy_data: Path, tmp_path: Path) -> None:
    card = prepare_job(RECIPE, "here", toy_data).card(tmp_path)
    assert "| valid | not evaluated yet |" in card
    assert f"    clearhead evaluate {tmp_path} --data DIR --split valid" in card


def test_a_valid_split_that_is_the_training_text_is_warned_of(toy_data: Path, labelled: Path, tmp_path: Path) -> None:
    lines = (toy_data / "train.en").read_text(encoding="utf-8")
    other = (toy_data / "valid.en").read_text(encoding="utf-8")
    for name, valid in (("same", lines), ("other", other)):
        (tmp_path / name).mkdir()
        for stem, text in (("train", lines), ("valid", valid)):
            (tmp_path / name / f"{stem}.txt").write_text(text, encoding="utf-8")
            (tmp_path / name / f"{stem}.en").write_text(text, encoding="utf-8")
            (tmp_path / name / f"{stem}.zh").write_text(text, encoding="utf-8")
        told = {
            prepare_job(RECIPE, "here", tmp_path / name).warnings() == [],
            prepare_job(LANGUAGE_MODEL, "here", tmp_path / name).warnings() == [],
            prepare_job(merge(MASKED, ALONE), "here", tmp_path / name).warnings() == [],
        }
        assert told == {name == "other"}
    assert prepare_job(CLASSIFY, "here", labelled).warnings() == []
    (tmp_path / "labels").mkdir()
    for stem in ("train", "valid"):
        (tmp_path / "labels" / f"{stem}.tsv").write_bytes((labelled / "train.tsv").read_bytes())
    (warning,) = prepare_job(CLASSIFY, "here", tmp_path / "labels").warnings()
    assert warning.startswith("warning: the split 'valid' is the training text itself")


def test_a_model_without_a_parameter_to_train_is_refused(toy_data: Path) -> None:
    job = prepare_job(RECIPE, "here", toy_data)
    with pytest.raises(UsageError, match=r"^model: all its \d+ parameters are frozen, there is nothing to train"):
        fresh_state(job.model.requires_grad_(False), job.recipe)
    nothing = replace(job.recipe, start="run", lora=LoraConfig(targets=()))
    with pytest.raises(UsageError, match=r"^lora.targets = \[\]: adapts no layer, and all \d+ parameters"):
        fresh_state(job.model, nothing)


def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets ``decide`` compute once in each precision and choose bfloat16; returns what it was asked to measure."""
    asked: list[str] = []

    def decide(device: torch.device, work: float, compute: Callable[[Precision], object], *what: str) -> Decision:
        compute(Precision("float32"))
        compute(Precision("bfloat16"))
        asked.append(*what or ["gradient"])
        return Decision("bfloat16", "cpu", (work, 2 * work))

    monkeypatch.setattr(job_module, "decide", decide)
    return asked


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_precision_is_decided_by_gradients_that_change_nothing(
    norm: str, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = chosen(monkeypatch)
    tree = merge(RECIPE, {"model": {"dropout": 0.3, "block": {"norm": norm}}})
    job = prepare_job(tree, "here", toy_data)
    assert isinstance(job, GradientJob)
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    random, held = torch.get_rng_state(), iter((10**9, 10**9 + 77))
    monkeypatch.setattr(job_module, "resident", lambda: next(held))
    settled = job.with_precision()
    assert (job.kept, settled.kept) == (0, 77)
    assert torch.equal(torch.get_rng_state(), random)
    for name, tensor in settled.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in settled.model.parameters())
    assert settled.state is job.state
    assert asked == ["gradient"]
    work = 600 * job.parameters
    line = f"precision: bfloat16; a gradient takes {work:.3g} s in bfloat16, {2 * work:.3g} s in float32"
    assert settled.decided() == [line]
    settled.save(tmp_path)
    assert read_toml(tmp_path / "recipe.toml")["train"]["precision"] == "bfloat16"
    assert settled.settings.numbers == "bfloat16"
    assert settled.with_precision() is settled
    assert (job.decided(), job.settings.numbers) == ([], "float32"), "as long as it is not decided"


def test_a_model_that_is_trained_in_less_memory_is_decided_on_by_products(
    toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = chosen(monkeypatch)
    for changes in ({"checkpoint_activations": True}, {"parallel": "fsdp"}):
        job = prepare_job(merge(RECIPE, {"train": changes}), "here", toy_data)
        assert isinstance(job, GradientJob)
        assert job.with_precision().settings.numbers == "bfloat16"
    assert asked == ["product"] * 2
