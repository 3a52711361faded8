"""Two processes are one: the same curve and weights under DDP and FSDP, resumed across; nobody waits for the dead."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.checkpoint import load_checkpoint
from clearhead.config import merge
from clearhead.manifest import checkpoints_of
from clearhead.runs.pointers import find_checkpoint
from clearhead.training.distributed import Engine, LossModule, Ranks, joined, ranks, wanted
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import train
from tests.limits import HANGS
from tests.once import make_once
from tests.small import small
from tests.toy import LANGUAGE_MODEL, MASKED, RECIPE, write_articles, write_documents, write_recipe
from tests.two_processes import together, under_torchrun

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]  # some ten processes, each of which loads torch
STEPS = {"max_steps": 6, "checkpoint_every": 3, "evaluate_every": 3, "rank_timeout": float(HANGS)}
RECIPES: dict[str, dict[str, Any]] = {
    "ddp": merge(RECIPE, {"train": STEPS}),
    "fsdp": merge(RECIPE, {"train": {**STEPS, "grad_accum_steps": 2, "parallel": "fsdp"}}),
    "few-rows": merge(LANGUAGE_MODEL, {"train": {**STEPS, "batch_tokens": 48}}),
    "masked": merge(MASKED, {"train": {**STEPS, "parallel": "fsdp"}, "optim": {"name": "muon", "ema_decay": 0.9}}),
    "half": merge(LANGUAGE_MODEL, {"train": {**STEPS, "parallel": "fsdp", "precision": "bfloat16"}}),
}


@pytest.fixture(scope="module")
def folders(suite: Path, toy_data: Path) -> dict[str, Path]:
    """Each recipe trained by one process and by two; and both ways with the number changed in the middle."""
    folder = make_once(suite, "processes", lambda folder: train_all(folder, toy_data))
    return {path.name: path for path in folder.iterdir() if path.is_dir()}


def train_all(folder: Path, toy_data: Path) -> None:
    lines = (toy_data / "train.en").read_text(encoding="utf-8").splitlines()
    texts = write_documents(folder / "text", lines), write_articles(folder / "articles", lines)
    data = {"ddp": toy_data, "fsdp": toy_data, "few-rows": texts[0], "masked": texts[1], "half": texts[0]}
    runs = [
        {"recipe": str(write_recipe(folder / f"{name}.toml", tree)), "data": str(data[name])}
        for name, tree in RECIPES.items()
    ]
    for name, run in zip(RECIPES, runs, strict=True):
        train(**run, out=folder / f"{name}-one")
    for name, run in zip(("ddp", "fsdp"), runs, strict=False):
        train(**run, out=folder / f"{name}-one-then-two", overrides=["train.max_steps=3"])
    both = [{**run, "out": str(folder / f"{name}-two")} for name, run in zip(RECIPES, runs, strict=True)]
    for name, run in zip(("ddp", "fsdp"), runs, strict=False):
        both.append({**run, "out": str(folder / f"{name}-one-then-two"), "resume": True})
        both.append({**run, "out": str(folder / f"{name}-two-then-one"), "overrides": ["train.max_steps=3"]})
    together(both, folder)
    for name, run in zip(("ddp", "fsdp"), runs, strict=False):
        train(**run, out=folder / f"{name}-two-then-one", resume=True)


def curve(run: Path, *names: str) -> list[list[float]]:
    return [[record[name] for name in names] for record in read_metrics(run / "metrics.jsonl") if "lr" in record]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    path = find_checkpoint(run, "latest")
    assert path is not None
    found = load_checkpoint(path).tensors
    return {f"{stem}/{name}": value for stem, own in found.items() for name, value in own.items()}


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "half"])
def test_two_processes_give_the_curve_and_the_weights_of_one(name: str, folders: dict[str, Path]) -> None:
    one, two = folders[f"{name}-one"], folders[f"{name}-two"]
    assert curve(one, "step", "epoch", "lr", "tokens") == curve(two, "step", "epoch", "lr", "tokens")
    for ours, theirs in zip(curve(two, "loss"), curve(one, "loss"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    for ours, theirs in zip(curve(two, "grad_norm"), curve(one, "grad_norm"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    # muon makes small singular values, and their rounding, large: in bfloat16 where the hardware has it
    same(two, one, most=2e-4 if name == "masked" else 2e-5)


def test_half_precision_is_that_of_one_process_but_for_the_rounding_of_sums(folders: dict[str, Path]) -> None:
    one, two = folders["half-one"], folders["half-two"]
    assert curve(one, "step", "epoch", "lr", "tokens") == curve(two, "step", "epoch", "lr", "tokens")
    ours, theirs = (torch.tensor(curve(run, "loss", "grad_norm")) for run in (two, one))
    assert float(ours[0, 0]) == pytest.approx(float(theirs[0, 0]), rel=1e-6), "the same weights, cut to the same bits"
    assert torch.allclose(ours, theirs, rtol=2**-8), "a unit in the last place of bfloat16"
    assert {value.dtype for value in tensors(two).values()} == {torch.float32}


def same(run: Path, other: Path, *, most: float = 2e-5) -> None:
    ours, theirs = tensors(run), tensors(other)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if key.endswith("k_proj.bias"):
            continue  # softmax does not see it: its gradient is rounding, of which Adam makes steps of full size
        assert float((ours[key].double() - value.double()).abs().mean()) < most, key


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
@pytest.mark.parametrize("order", ["one-then-two", "two-then-one"])
def test_a_checkpoint_goes_on_with_another_number_of_processes(name: str, order: str, folders: dict[str, Path]) -> None:
    resumed, one = folders[f"{name}-{order}"], folders[f"{name}-one"]
    assert curve(resumed, "step", "tokens") == curve(one, "step", "tokens")
    for ours, theirs in zip(curve(resumed, "loss"), curve(one, "loss"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    same(resumed, one)


def test_scores_are_judged_once_and_files_written_once(folders: dict[str, Path]) -> None:
    one, two = folders["ddp-one"], folders["ddp-two"]
    scores = [
        [(record["step"], record["best"]) for record in read_metrics(run / "metrics.jsonl") if "best" in record]
        for run in (one, two)
    ]
    assert scores[0] == scores[1]
    sampled = [
        [(record["step"], len(record["lines"])) for record in read_metrics(run / "metrics.jsonl") if "lines" in record]
        for run in (one, two, folders["fsdp-two"])
    ]
    assert sampled == [[(3, 3), (6, 3)], [(3, 3), (6, 3)], []], "the first process makes them; none of sharded weights"
    assert [path.name for path in checkpoints_of(two)] == [path.name for path in checkpoints_of(one)]
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}


def test_the_dead_are_named_and_torchrun_goes_on_from_the_last_checkpoint(
    tmp_path: Path, toy_data: Path, folders: dict[str, Path]
) -> None:
    recipe = write_recipe(tmp_path / "recipe.toml", RECIPES["ddp"])
    run = {"recipe": str(recipe), "data": str(toy_data), "out": str(tmp_path / "run"), "resume": True, "die_at": 5}
    done = under_torchrun(run, tmp_path, "--max-restarts=1")
    assert done.returncode == 0, done.stderr
    assert "said: process 0 of 2 stops because others are gone: 1 (killed, or its machine is gone)" in done.stderr
    assert curve(tmp_path / "run", "step", "tokens") == curve(folders["ddp-one"], "step", "tokens")
    same(tmp_path / "run", folders["ddp-one"])


def test_one_process_is_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert wanted() == 1
    with joined(1.0) as found:
        assert found == ranks() == Ranks()
    assert found.sum(1.5, 2.0) == [1.5, 2.0]
    assert found.of_first(3.0) == [3.0]
    assert found.texts("a") == ["a"]
    assert found.first_alone(lambda: "b") == "b"
    model = small()
    found.broadcast(model)
    engine = Engine(LossModule(model))
    assert engine(lambda: 7) == 7
    grads = [torch.full((4,), 3.0), torch.full((1,), 8.0)]
    assert float(engine.norm(grads)) == pytest.approx(10.0)
