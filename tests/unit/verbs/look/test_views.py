"""Every view of every family: made, as text and as JSON, and nothing changed."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from clearhead.config import merge, read_toml, write_toml
from clearhead.errors import UsageError
from clearhead.inspect.attend.beside import PartsView
from clearhead.inspect.curves import ScheduleView
from clearhead.inspect.flow import GradientsView
from clearhead.inspect.slots import OptimizerView
from clearhead.inspect.step.accumulation import AccumulateView
from clearhead.inspect.step.order import HooksView
from clearhead.manifest import checkpoints_of
from clearhead.tasks.sample import Shape
from clearhead.training.writers import read_metrics
from clearhead.verbs.look.opened import Choice, Opened
from clearhead.verbs.look.views import VIEWS, names_of, trained_rate, view_of

WRITING = ("steps", "beam")  # what a BERT cannot do


@pytest.mark.long_but(every=10)
@pytest.mark.parametrize(
    ("what", "family"),
    [
        (what, family)
        for what in VIEWS
        for family in ("toy_run", "toy_lm_run", "toy_masked_run")
        if not (what in WRITING and family == "toy_masked_run") and what != "accumulate"
    ],
)
def test_looking_changes_nothing(what: str, family: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(family)
    opened = Opened.open(run, "他喜欢书。", checkpoint="best", device="cpu")
    state = {name: tensor.clone() for name, tensor in opened.model.state_dict().items()}
    with torch.inference_mode():
        before = opened.model(**opened.inputs)
        before = before if isinstance(before, torch.Tensor) else before[0]
    view = VIEWS[what](opened)
    assert view.lines(80)
    assert json.loads(json.dumps(view.as_dict()))
    assert "<section" in view._repr_html_()
    with torch.inference_mode():
        after = opened.model(**opened.inputs)
        after = after if isinstance(after, torch.Tensor) else after[0]
    assert torch.equal(before, after)
    assert state.keys() == opened.model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in opened.model.state_dict().items())
    assert not any(module._forward_hooks for module in opened.model.modules())


@pytest.mark.parametrize("what", ["attention", "layout", "norm", "rank"])
def test_what_the_model_writes_for_the_view_is_not_looked_at(what: str, toy_run: Path) -> None:
    """A translator's inputs are a text and its own translation, which is made when they are first asked for."""
    first, again = (Opened.open(toy_run, "他喜欢书。", checkpoint="best", device="cpu") for _ in range(2))
    assert again.inputs["tgt_ids"].shape[0] == 1
    assert VIEWS[what](first).as_dict() == VIEWS[what](again).as_dict()


def test_gradients_of_a_finished_run_are_at_the_last_rate_that_trained(toy_classifier: Path) -> None:
    """The linear schedule ends at 0, at the last step; the rate before that is in the metrics."""
    steps = [record for record in read_metrics(toy_classifier / "metrics.jsonl") if record["event"] == "stepped"]
    assert steps[-1]["lr"] == 0 < steps[-2]["lr"]
    opened = Opened.open(toy_classifier, "a great film", checkpoint="latest", device="cpu")
    view = VIEWS["gradients"](opened)
    assert isinstance(view, GradientsView)
    assert view.note == f"at a learning rate of {steps[-2]['lr']:.3g}, that of step {len(steps) - 1}"
    assert any(layer.updates[-1] > 0 for layer in view.layers)


def test_the_last_rate_of_a_bare_checkpoint_follows_from_the_schedule(toy_run: Path, tmp_path: Path) -> None:
    (*_, last) = checkpoints_of(toy_run)
    bare = shutil.copytree(last, tmp_path / "bare")
    tree = merge(read_toml(bare / "recipe.toml"), {"optim": {"schedule": "linear"}})
    (bare / "recipe.toml").write_text(write_toml(tree), encoding="utf-8")
    opened = Opened.open(bare, "他喜欢书。", checkpoint="latest", device="cpu")
    assert trained_rate(opened, 0.5, 120) == (pytest.approx(0.5 / 110), 119)  # the fall takes 110 steps, after warm-up
    assert trained_rate(opened, 0.5, 10) == (0.5, 10)
    assert trained_rate(opened, 0.5, 0) == (pytest.approx(0.05), 1)


def test_the_schedule_is_that_of_the_run_where_its_text_decides_on_its_length(toy_classifier: Path) -> None:
    """A classifier's recipe counts epochs; ``train.max_steps`` is only a limit."""
    rates = [record["lr"] for record in read_metrics(toy_classifier / "metrics.jsonl") if record["event"] == "stepped"]
    opened = Opened.open(toy_classifier, "a great film", checkpoint="latest", device="cpu")
    assert opened.settings.max_steps == len(rates) < opened.recipe.train.max_steps
    curves = VIEWS["schedule"](opened)
    assert isinstance(curves, ScheduleView)
    assert (curves.own, curves.step[-1], curves.rates["linear"][-1]) == ("linear", len(rates), 0)
    groups = VIEWS["optimizer"](opened)
    assert isinstance(groups, OptimizerView)
    assert {group.lr for group in groups.groups} == {rates[-1]}
    assert groups.ahead == {}


@pytest.mark.parametrize("family", ["toy_run", "toy_lm_run", "toy_masked_run", "toy_classifier", "toy_pair_classifier"])
def test_batches_of_every_family_add_up_to_one(family: str, request: pytest.FixtureRequest) -> None:
    view = view_of("accumulate", request.getfixturevalue(family), checkpoint="best", device="cpu")
    assert isinstance(view, AccumulateView)
    assert len(view.targets) == 3
    assert view.targets[1] == 2 * view.targets[0]
    assert view.targets[2] == 5 * view.targets[0]
    assert max(view.apart, view.worst_apart) < 1e-5
    assert view.moved["none"] == 0.0
    assert "at the run's highest learning rate" in view.note


def test_batches_need_rows(toy_lm_run: Path) -> None:
    where: dict[str, str] = {"checkpoint": "best", "device": "cpu"}
    view = view_of("accumulate", toy_lm_run, shape=Shape(3, 8), **where)
    assert isinstance(view, AccumulateView)
    assert view.targets == [8, 16]
    with pytest.raises(UsageError, match="--batch '2x8': view 'accumulate' needs 3 rows, to divide them unequally"):
        view_of("accumulate", toy_lm_run, shape=Shape(2, 8), **where)
    with pytest.raises(UsageError, match=r"view 'accumulate': takes rows of random pieces.*leave the TEXT out"):
        view_of("accumulate", toy_lm_run, "apple", **where)


def test_runs_stand_beside_each_other(toy_run: Path, toy_lm_run: Path, toy_baselines: dict[str, Path]) -> None:
    recurrent = toy_baselines["rnn_language_model"]
    choice = Choice(beside=(toy_lm_run, recurrent))
    opened = Opened.open(toy_run, "他喜欢书。", choice=choice, checkpoint="best", device="cpu")
    view = VIEWS["parts"](opened)
    assert isinstance(view, PartsView)
    assert list(view.runs) == names_of([toy_run, toy_lm_run, recurrent]), "two of them have the name run"
    alone = VIEWS["parts"](Opened.open(toy_lm_run, "他喜欢书。", checkpoint="best", device="cpu"))
    assert isinstance(alone, PartsView)
    assert list(view.runs.values())[1] == alone.runs[toy_lm_run.name]
    twice = VIEWS["parts"](Opened.open(toy_run, choice=Choice(beside=(toy_run,)), checkpoint="best", device="cpu"))
    assert isinstance(twice, PartsView)
    assert list(twice.runs) == [toy_run.name], "one run beside itself is one run"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["one/a", "two/a", "b"], ["one/a", "two/a", "b"]),
        (["x/one/a", "y/one/a"], ["x/one/a", "y/one/a"]),
    ],
)
def test_names_tell_runs_apart(paths: list[str], names: list[str]) -> None:
    assert names_of(list(map(Path, paths))) == names


def test_hooks_are_those_of_the_module_that_is_chosen(toy_lm_run: Path) -> None:
    choice = Choice(module="layers.1.attn.o_proj")
    view = VIEWS["hooks"](Opened.open(toy_lm_run, choice=choice, checkpoint="best", device="cpu"))
    assert isinstance(view, HooksView)
    assert (view.module, view.kind, view.silent) == ("layers.1.attn.o_proj", "Linear", [])
