"""Several runs of one recipe: which ones, resumed where they were interrupted, mean and deviation."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clearhead.config import as_tree
from clearhead.errors import UsageError
from clearhead.verbs.repeat import Repeats, Summary, open_folder, repeat, summarize, train_several
from clearhead.verbs.train import TrainResult

TREE: dict[str, Any] = {"task": "classify", "train": {"seed": 5}, "start": "run"}


def write_scores(run: Path, *evaluations: tuple[float, bool]) -> None:
    run.mkdir()
    records = [
        {"event": "evaluated", "step": 1, "scores": {"accuracy": share}, "best": best} for share, best in evaluations
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_seeds_folds_and_scratch_are_changes_of_the_recipe() -> None:
    assert not Repeats()
    assert Repeats(seeds=2).members(TREE) == {"seed-5": ["train.seed=5"], "seed-6": ["train.seed=6"]}
    folds = [["train.seed=5", "data.folds=2", f"data.fold={fold}"] for fold in range(2)]
    assert Repeats(folds=2).members(TREE) == dict(zip(("fold-0-seed-5", "fold-1-seed-5"), folds, strict=True))
    found = Repeats(2, 2, compare_scratch=True).members(TREE)
    assert len(found) == 8
    assert found["scratch-fold-1-seed-6"] == ["train.seed=6", "data.folds=2", "data.fold=1", "finetune.fresh=true"]


@pytest.mark.parametrize("task", ["translation", "rnn_translation", "language_model", "masked", "classify"])
def test_every_task_that_draws_has_runs_of_other_seeds(task: str) -> None:
    tree = {"task": task, "train": {"seed": 3}, **({"src": "en", "tgt": "de"} if "translation" in task else {})}
    assert Repeats(seeds=2).members(tree) == {"seed-3": ["train.seed=3"], "seed-4": ["train.seed=4"]}


def test_the_seed_is_known_before_the_model_that_training_starts_from_is() -> None:
    """It says the languages and the sizes; what is wrong in the recipe's own settings is said all the same."""
    tree = {"task": "translation", "start": "run", "train": {"seed": 7, "max_steps": 3}}
    assert Repeats(seeds=2).members(tree) == {"seed-7": ["train.seed=7"], "seed-8": ["train.seed=8"]}
    assert list(Repeats(seeds=1).members({"start": "run"})) == ["seed-0"]
    for wrong, rule in (({"seed": "many"}, r"train\.seed = 'many'"), (3, "train = 3: this is a table, set its keys")):
        with pytest.raises(UsageError, match=rule):
            Repeats(seeds=2).members({**tree, "train": wrong})


def test_what_cannot_be_repeated() -> None:
    for wanted in (Repeats(folds=2), Repeats(seeds=2, compare_scratch=True)):
        with pytest.raises(
            UsageError, match="--folds, --compare-scratch: are for the task classify, not 'translation'"
        ):
            wanted.members({})
    with pytest.raises(UsageError, match="--seeds: the task 'ngram' draws no random numbers"):
        Repeats(seeds=2).members({"task": "ngram"})
    with pytest.raises(UsageError, match="--compare-scratch: there is nothing to compare with"):
        Repeats(compare_scratch=True).members({"task": "classify"})
    for wrong, rule in (({"seed": "many"}, r"train\.seed = 'many'"), (3, "train = 3: this is a table, set its keys")):
        with pytest.raises(UsageError, match=rule):
            Repeats(seeds=2).members({"task": "classify", "train": wrong})


def test_mean_deviation_and_gain_run_by_run(tmp_path: Path) -> None:
    runs = {"seed-0": {"accuracy": 0.8}, "seed-1": {"accuracy": 0.9}}
    runs |= {
        f"scratch-{name}": {"accuracy": scores["accuracy"] - gain}
        for (name, scores), gain in zip(runs.items(), (0.2, 0.4), strict=True)
    }
    last = {name: {"accuracy": scores["accuracy"] - 0.1} for name, scores in runs.items()}
    found = summarize(tmp_path, runs, last)
    assert as_tree(found.scores["accuracy"]) == pytest.approx({"mean": 0.85, "deviation": 0.0707}, abs=1e-4)
    assert found.scratch["accuracy"].mean == pytest.approx(0.55)
    assert as_tree(found.gain["accuracy"]) == pytest.approx({"mean": 0.3, "deviation": 0.1414}, abs=1e-4)
    assert found.last["accuracy"].mean == pytest.approx(0.75), "the runs without pretraining are none of these"
    assert found.lines()[-4:] == [
        "2 runs: accuracy 0.8500 ± 0.0707",
        "2 runs at their last evaluation: accuracy 0.7500 ± 0.0707",
        "2 runs from scratch: accuracy 0.5500 ± 0.0707",
        "gain: accuracy +0.3000 ± 0.1414",
    ]
    alone = summarize(tmp_path, {"seed-0": {"accuracy": 0.5}}, {"seed-0": {"accuracy": 0.5}})
    assert alone.lines() == ["seed-0: accuracy 0.5000", "1 runs: accuracy 0.5000"]


def test_the_best_checkpoint_counts_and_an_interruption_ends_it(tmp_path: Path) -> None:
    asked: list[tuple[str, list[str]]] = []

    def train_one(run: Path, changes: list[str]) -> TrainResult:
        asked.append((run.name, changes))
        if not run.exists():
            write_scores(run, (0.1, True), (0.7 + 0.1 * len(asked), True), (0.2, False))
        return TrainResult(run, 3, "interrupted" if len(asked) == 2 else "max_steps", {}, 15)

    members = Repeats(seeds=3).members(TREE)
    stopped = repeat(tmp_path, members, train_one)
    assert isinstance(stopped, TrainResult)
    assert (stopped.run, stopped.signal, [name for name, _ in asked]) == (tmp_path, 15, ["seed-5", "seed-6"])
    assert not (tmp_path / "summary.json").exists()
    found = repeat(tmp_path, members, train_one)
    assert isinstance(found, Summary)
    assert [scores["accuracy"] for scores in found.runs.values()] == pytest.approx([0.8, 0.9, 1.2])
    assert asked[2:] == [*members.items()]
    tree = json.loads((tmp_path / "summary.json").read_text())
    assert tree["scores"]["accuracy"]["mean"] == pytest.approx(2.9 / 3)
    assert tree["last"]["accuracy"]["mean"] == pytest.approx(0.2)
    assert set(tree) == {"folder", "runs", "scores", "last", "scratch", "gain"}


def test_the_folder_is_never_another_thing(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_folder("a", None, resume=False) == Path("runs/a-001")
    with pytest.raises(UsageError, match="name the run with --out"):
        open_folder("a", None, resume=True)
    with pytest.raises(UsageError, match="exists: add --resume"):
        open_folder("a", toy_run, resume=False)
    with pytest.raises(UsageError, match="is one run, not a folder of several"):
        open_folder("a", toy_run, resume=True)
    for resume in (False, True):
        assert open_folder("a", tmp_path / f"new-{resume}", resume=resume).is_dir()
    (tmp_path / "new-False" / "seed-0").mkdir()
    assert open_folder("a", tmp_path / "new-False", resume=True) == tmp_path / "new-False"
    with pytest.raises(UsageError, match=r"holds several runs: add --resume"):
        open_folder("a", tmp_path / "new-False", resume=False)
    (tmp_path / "new-False" / "seed-0").rename(tmp_path / "new-False" / "notes")
    with pytest.raises(UsageError, match="is taken by something else"):
        open_folder("a", tmp_path / "new-False", resume=False)


def test_all_runs_have_the_precision_that_the_first_one_has_decided_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    @contextmanager
    def open_run(recipe: str, data: Path, run: Path, *, overrides: list[str], **more: object) -> Iterator[Path]:
        asked.append([change for change in overrides if "precision" in change])
        write_scores(run, (0.5, True))
        (run / "recipe.toml").write_text('[train]\nprecision = "bfloat16"\n')
        yield run

    monkeypatch.setattr("clearhead.verbs.repeat.open_run", open_run)
    train_several(
        "classify",
        tmp_path,
        tmp_path / "runs",
        [],
        repeats=Repeats(seeds=3),
        resume=False,
        follow=lambda run, first: TrainResult(run, 3, "max_steps", {}),  # type: ignore[arg-type]
    )
    assert asked == [[], ["train.precision=bfloat16"], ["train.precision=bfloat16"]]
