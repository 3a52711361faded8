"""Every view of every family: made, as text and as JSON, and nothing changed."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import checkpoints_of
from clearhead.config import merge, read_toml, write_toml
from clearhead.inspect.curves import ScheduleView
from clearhead.inspect.flow import GradientsView
from clearhead.inspect.slots import OptimizerView
from clearhead.training.writers import read_metrics
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.views import VIEWS, trained_rate

WRITING = ("steps", "beam")  # what a BERT cannot do


@pytest.mark.long_but(every=10)
@pytest.mark.parametrize(
    ("what", "family"),
    [
        (what, family)
        for what in VIEWS
        for family in ("toy_run", "toy_lm_run", "toy_masked_run")
        if not (what in WRITING and family == "toy_masked_run")
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
