"""Saving and restoring a run: pointers, what is dropped, and what does not fit."""

import re
from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import Checkpoint, model_tensors
from clearhead.errors import ModelError
from clearhead.runs.pointers import find_checkpoint
from tests.states import names, save, saved, state


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    kept = []
    for step in range(1, 8):
        saved(tmp_path, step, best=step == 3)
        kept.append(names(tmp_path))
    assert kept[2:] == [[2, 3], [3, 4], [3, 4, 5], [3, 5, 6], [3, 6, 7]]
    found = [find_checkpoint(tmp_path, which) for which in ("best", "latest", "step-00000006")]
    assert [path.name for path in found if path] == ["step-00000003", "step-00000007", "step-00000006"]
    saved(tmp_path, 8, best=True, keep_last=1)
    assert names(tmp_path) == [8]


def test_everything_comes_back(tmp_path: Path) -> None:
    one, other = state(ema=True), state(ema=True, seed=1)
    for parameter in one.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    one.optimizers.step()
    assert one.ema is not None
    assert other.ema is not None
    one.ema.update_parameters(one.model)
    numbers = {"step": 4, "epoch": 2, "position": 7, "seconds": 1.5, "best_score": -2.0, "best_step": 3}
    for name, value in {**numbers, "evaluations_since_best": 1, "scores": {"loss": 2.0}}.items():
        setattr(one, name, value)
    one.evaluated_step, one.scaler = 3, {"scale": 1024.0}
    one.optimizers.set_lr_factor(0.25)
    other.restore(save(one, tmp_path))
    assert {name: getattr(other, name) for name in numbers} == numbers
    assert (other.evaluations_since_best, other.scores) == (1, {"loss": 2.0})
    assert (other.evaluated_step, other.scaler) == (3, {"scale": 1024.0})
    assert other.snapshot().state["schedule"] == {"lr": [0.025, 0.025]}
    assert int(other.ema.n_averaged) == 1
    both = [
        (model_tensors(a), model_tensors(b)) for a, b in [(one.model, other.model), (one.ema.module, other.ema.module)]
    ]
    both.append((one.optimizers.state_tensors(), other.optimizers.state_tensors()))
    for ours, theirs in both:
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("before", "now", "counts"),
    [
        ({"text": "a", "monitor": "loss"}, {"text": "a", "monitor": "loss"}, True),
        ({"text": "a", "monitor": "loss"}, {"text": "b", "monitor": "loss"}, False),
        ({"text": "a", "monitor": "loss"}, {"text": "a", "monitor": "bleu"}, False),
        ({"text": "a"}, {"text": "a", "a key of a later version": 1}, True),
        ({}, {"text": "b"}, True),
    ],
)
def test_scores_of_another_text_or_measure_do_not_count(
    before: dict[str, str], now: dict[str, str], counts: bool, tmp_path: Path
) -> None:
    one, other = state(), state()
    one.step, one.best_score, one.best_step, one.evaluated_step = 4, -2.0, 3, 4
    one.evaluations_since_best, one.scores, one.judged_on, other.judged_on = 1, {"loss": 2.5}, dict(before), dict(now)
    notes = other.restore(save(one, tmp_path))
    found = other.best_score, other.best_step, other.evaluated_step, other.evaluations_since_best, other.scores
    assert found == ((-2.0, 3, 4, 1, {"loss": 2.5}) if counts else (None, 0, 0, 0, {}))
    assert [note for note in notes if "does not count" in note] == ([] if counts else notes[:1])
    assert other.judged_on == now


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save(state(), tmp_path)
    with pytest.raises(ModelError, match=r"tensor '.*' has shape \[.*\], this model needs"):
        state(d_ff=40).restore(path)
    with pytest.raises(ModelError, match=r"there is no weight average in it: optim\.ema_decay was 0"):
        state(ema=True).restore(path)


def test_the_state_of_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    one, other = state(), state()
    for parameter in one.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    one.optimizers.step()
    path = save(one, tmp_path)
    gone = next(iter(other.optimizers.names))
    other.optimizers.names.pop(gone)
    with pytest.raises(ModelError, match="optimizer state of an unknown parameter"):
        other.restore(path)


def test_a_parameter_whose_state_is_missing_is_named(tmp_path: Path) -> None:
    """One that no step has changed yet has none, and that is said in the checkpoint."""
    one, names = state(), [*state().optimizers.names.values()]
    for name, parameter in one.model.named_parameters():
        parameter.grad = torch.ones_like(parameter) if name != names[1] else None
    one.optimizers.step()
    fine = one.snapshot()
    state()._take(fine)
    slots = {key: value for key, value in fine.tensors["optimizer"].items() if not key.endswith(f"/{names[0]}")}
    with pytest.raises(ModelError, match=f"optimizer state of parameter '{names[0]}' is missing"):
        state()._take(Checkpoint({**fine.tensors, "optimizer": slots}, fine.state))


def test_a_snapshot_is_a_copy() -> None:
    one = state(ema=True)
    taken = one.snapshot()
    before = {name: tensor.clone() for name, tensor in taken.tensors["model"].items()}
    with torch.no_grad():
        for parameter in one.model.parameters():
            parameter.add_(1.0)
    one.scores["loss"] = 1.0
    assert all(torch.equal(taken.tensors["model"][name], before[name]) for name in before)
    assert taken.state["scores"] == {}


def test_what_may_change_the_last_bits_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(state(), tmp_path)
    assert state().restore(path) == []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    (line,) = state().restore(path)
    assert re.fullmatch(r"checkpoint step-00000000 was written under threads \d+ \(now 64\)", line)


def test_weights_that_are_judged_are_the_average_where_one_is_kept() -> None:
    averaged, plain = state(ema=True), state()
    assert averaged.ema is not None
    assert averaged.evaluated_model is averaged.ema.module
    assert plain.evaluated_model is plain.model
