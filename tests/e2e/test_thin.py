"""Every family thinly: three steps by the command line, then its own verb. `make quick` has no other training."""

import json
from pathlib import Path

import pytest

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
