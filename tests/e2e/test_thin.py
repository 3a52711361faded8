"""Every family thinly: three steps by the command line, then its own verb. `make quick` has no other training."""

import json
from pathlib import Path

import pytest

from clearhead.runs.pointers import find_checkpoint
from tests import toy

TREES = {
    "translation": toy.RECIPE,
    "language_model": toy.LANGUAGE_MODEL,
    **{task: {"task": task, "data": {"separator": "line"}, **tree} for task, tree in toy.BASELINES.items()},
    "masked": toy.MASKED,
    "classify": toy.CLASSIFY,
}
VERBS = {"translation": "translate", "masked": "fill", "classify": "classify"}
STEPS = ["--set", "train.max_steps=3", "--set", "train.warmup_steps=1"]


def text_for(task: str, folder: Path) -> Path:
    """Writes a small corpus of the kind that ``task`` reads."""
    if task == "classify":
        return toy.write_labelled(folder, toy.labelled_lines(40), toy.labelled_lines(8, seed=1))
    pairs = toy.demo_lines(40)
    match task:
        case "translation":
            return toy.write_corpus(folder, pairs)
        case "masked":
            return toy.write_articles(folder, [english for _, english in pairs])
        case _:
            return toy.write_documents(folder, [english for _, english in pairs])


@pytest.mark.parametrize("task", TREES)
def test_three_steps_and_an_answer(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, run = toy.write_recipe(tmp_path / "recipe.toml", TREES[task]), tmp_path / "run"
    words = ["train", recipe, "--data", text_for(task, tmp_path / "data"), "--out", run]
    trained = toy.clearhead(capsys, *words, *(STEPS if task != "ngram" else []))
    assert (trained.code, trained.out) == (0, f"{run}\n"), trained.err
    answer = toy.clearhead(capsys, VERBS.get(task, "generate"), run, "She [MASK] an apple.", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)


def checkpoint_of(run: Path) -> dict[str, object]:
    """Returns the state of the last checkpoint."""
    latest = find_checkpoint(run, "latest")
    assert latest is not None
    state: dict[str, object] = json.loads((latest / "state.json").read_bytes())
    return state


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("task", [task for task in TREES if task != "ngram"])
def test_a_budget_of_seconds(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every family takes it, says with --dry-run what it will be, ends in time, and goes on with more of it."""
    recipe, run = toy.write_recipe(tmp_path / "recipe.toml", TREES[task]), tmp_path / "run"
    words = ["train", recipe, "--data", text_for(task, tmp_path / "data"), "--set", "finetune.epochs=0"]
    words = words if task == "classify" else words[:-2]
    tried = toy.clearhead(capsys, *words, "--budget", "4s", "--dry-run")
    assert tried.code == 0, tried.err
    assert "seconds, bounded by train.max_minutes: " in tried.err
    trained = toy.clearhead(capsys, *words, "--budget", "4s", "--out", run)
    assert trained.code == 0, trained.err
    assert "0:04 for the run: the first steps and an evaluation are measured" in trained.err
    assert "finished, max minutes" in trained.err
    state = checkpoint_of(run)
    assert 2 < float(str(state["seconds"])) < 8, "a machine that does much else beside may be late"
    assert state["sizing"]
    assert state["step"] == state["max_steps"]
    more = toy.clearhead(capsys, *words, "--budget", "6s", "--out", run, "--resume")
    assert more.code == 0, more.err
    assert int(str(checkpoint_of(run)["step"])) > int(str(state["step"]))


def test_several_runs_have_the_budget_each_and_counts_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, runs = toy.write_recipe(tmp_path / "recipe.toml", toy.CLASSIFY), tmp_path / "runs"
    words = ["train", recipe, "--data", text_for("classify", tmp_path / "data"), "--set", "finetune.epochs=0"]
    trained = toy.clearhead(capsys, *words, "--budget", "1s", "--seeds", "2", "--out", runs)
    assert trained.code == 0, trained.err
    assert [bool(checkpoint_of(run)["sizing"]) for run in sorted(runs.glob("seed-*"))] == [True, True]
    counted = toy.write_recipe(tmp_path / "ngram.toml", TREES["ngram"])
    refused = toy.clearhead(capsys, "train", counted, "--data", text_for("ngram", tmp_path / "text"), "--budget", "1m")
    toy.assert_one_line(refused, 2, "--budget: the task 'ngram' is not trained by steps")
    wrong = toy.clearhead(capsys, "train", recipe, "--data", tmp_path, "--budget", "soon")
    toy.assert_one_line(wrong, 2, "--budget 'soon': expected a time such as 20m, 1h30m or 90s")
