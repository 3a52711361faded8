"""Plans: each family, shares of devices, what is advised where a run does not fit; the forecast of a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clearhead.config import merge
from clearhead.errors import UsageError
from clearhead.nn import layer
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.masked.model import MaskedModel
from clearhead.training.device import KEPT_SHARE, can_keep, resident
from clearhead.training.job import GradientJob
from clearhead.verbs import plan as planning
from clearhead.verbs.plan import Devices, forecast, memory_size, plan
from tests.toy import CLASSIFY, LANGUAGE_MODEL, MASKED, RECIPE

WIDE = merge(LANGUAGE_MODEL, {"train": {"batch_tokens": 48 * 64}})


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("tree", [RECIPE, LANGUAGE_MODEL, MASKED, CLASSIFY], ids=lambda tree: str(tree["name"]))
def test_every_family_is_forecast(tree: dict[str, object]) -> None:
    found = plan(tree, "here", Devices(rate=1e9))
    assert found.memory["peak"] > 2 * found.memory["parameters"]
    assert found.seconds_per_step == found.flops_per_step / 1e9
    assert found.communication_bytes_per_step == 0
    assert found.fits is None
    assert f"{found.parameters:,} parameters" in found.lines()[0]


@pytest.mark.long
def test_what_begins_with_a_trained_model_has_its_sizes(toy_masked_run: Path, toy_classifier: Path) -> None:
    models = MaskedModel.load(toy_masked_run).model, Classifier.load(toy_classifier).model
    for run, model, task in zip((toy_masked_run, toy_classifier), models, ("masked", "classify"), strict=True):
        tree = {"task": task, "start": str(run), "train": {"batch_tokens": 600}}
        found = plan(tree, "here", Devices())
        assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert found.width == model.config.max_seq_len
        assert plan(merge(tree, {"model": {"max_seq_len": 8}}), "here", Devices()).width == 8
    small = {"task": "masked", "start": str(toy_masked_run), "lora": {"rank": 1}}
    whole, adapted = (plan(tree, "here", Devices()).memory for tree in ({**small, "lora": None}, small))
    assert adapted["gradients"] < whole["gradients"], "frozen weights have none"
    assert adapted["parameters"] > whole["parameters"]
    tuned = {"task": "classify", "start": str(toy_classifier)}
    whole, frozen, adapted = (
        plan({**tuned, **how}, "here", Devices()).memory
        for how in ({}, {"finetune": {"frozen": True}}, {"lora": {"rank": 1}})
    )
    assert frozen["gradients"] < adapted["gradients"] < whole["gradients"]


def test_layers_that_are_not_there_cannot_be_adapted(toy_lm_run: Path, toy_masked_run: Path) -> None:
    lora = {"lora": {"targets": ["nowhere"]}}
    for tree in (
        {"task": "language_model", "start": str(toy_lm_run), **lora},
        {"task": "masked", "start": str(toy_masked_run), **lora},
        {"task": "classify", "start": str(toy_masked_run), **lora},
    ):
        with pytest.raises(UsageError, match="nowhere"):
            plan(tree, "here", Devices())


@pytest.mark.long
def test_more_hidden_pieces_take_more_of_the_output_layer() -> None:
    few, many = (plan(merge(MASKED, {"masked": {"mask_fraction": share}}), "here", Devices()) for share in (0.1, 0.5))
    assert many.memory["activations"] > few.memory["activations"]


@pytest.mark.long
def test_devices_share_rows_and_fsdp_shares_states_too() -> None:
    one, ddp = (plan(WIDE, "here", Devices(count)) for count in (1, 4))
    fsdp = plan(merge(WIDE, {"train": {"parallel": "fsdp"}}), "here", Devices(4))
    assert ddp.flops_per_step == pytest.approx(one.flops_per_step)
    assert ddp.memory["optimizer"] == one.memory["optimizer"]
    assert fsdp.memory["optimizer"] == pytest.approx(one.memory["optimizer"] / 4, abs=1)
    assert ddp.memory["peak"] < one.memory["peak"]
    assert ddp.communication_bytes_per_step == 2 * 3 / 4 * one.memory["gradients"]
    assert fsdp.communication_bytes_per_step == 3 * 3 / 4 * one.memory["gradients"]
    assert any("a batch has 64 rows for 100 devices" in line for line in plan(WIDE, "here", Devices(100)).advice)


@pytest.mark.long
def test_what_would_fit_is_said_and_does() -> None:
    whole = plan(WIDE, "here", Devices())
    limit = int(0.6 * whole.memory["peak"])
    found = plan(WIDE, "here", Devices(memory=limit))
    assert found.fits is False
    halved = next(line for line in found.advice if "batch_tokens" in line)
    tokens, steps = (int(part.split("=")[1].split()[0].rstrip(":")) for part in halved.split("--set train.")[1:])
    smaller = plan(
        merge(WIDE, {"train": {"batch_tokens": tokens, "grad_accum_steps": steps}}), "here", Devices(1, limit)
    )
    assert smaller.fits
    assert smaller.tokens_per_step == whole.tokens_per_step
    assert "nothing of train.*" in plan(WIDE, "here", Devices(memory=1000)).advice[0]


@pytest.mark.long
def test_a_run_is_forecast_beside_what_is_free_and_nothing_random_is_drawn(
    toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare_job(RECIPE, "here", toy_data)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # Python's are drawn by the checks of shapes
    before = {name: tensor.clone() for name, tensor in job.state.model.state_dict().items()}
    monkeypatch.setattr(planning, "free_memory", lambda device: 10**9)
    found = forecast(job)
    assert found is not None
    after = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert torch.equal(states[0], after[0])
    assert states[1] == after[1]
    assert all(torch.equal(before[name], tensor) for name, tensor in job.state.model.state_dict().items())
    assert all(parameter.grad is None for parameter in job.state.model.parameters())
    assert found.memory["parameters"] == 4 * sum(one.numel() for one in job.state.model.parameters())
    assert found.rows == 600 // found.width
    assert found.available is not None
    assert found.available > 10**9, "the weights are there already"
    (line,) = found.memory_lines()
    assert line.startswith("memory forecast: parameters ")
    assert f"(batches of {found.rows} rows x {found.width}); " in line
    monkeypatch.setattr(planning, "free_memory", lambda device: 0)
    full = forecast(job)
    assert full is not None
    assert full.memory_lines()[1] == f"warning: memory: that does not fit; {' or '.join(full.advice)}"
    monkeypatch.setattr(planning, "free_memory", lambda device: None)
    unknown = forecast(job)
    assert unknown is not None
    assert " for it" not in unknown.memory_lines()[0]
    if can_keep() and resident() is not None:
        bare = plan(RECIPE, "here", Devices(), vocab_size=job.parts.both.src.vocab_size).memory
        assert found.memory["kept_by_the_heap"] == int(KEPT_SHARE * found.memory["activations"]) > 0
        assert found.memory["parameters"] == bare["parameters"]
        copied = sum(found.memory[name] for name in ("parameters", "optimizer", "average"))
        assert found.memory["checkpoint_copy"] == copied
        assert found.process is not None
        assert found.process > found.memory["peak"] + 50 * 2**20, "PyTorch is there too"


@pytest.mark.long
def test_a_run_that_goes_on_holds_its_optimizer_already(toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare_job(RECIPE, "here", toy_data)
    monkeypatch.setattr(planning, "free_memory", lambda device: 10**9)
    fresh = forecast(job)
    slots = [torch.zeros(1000, 1000), torch.zeros(1000, 1000)]
    monkeypatch.setattr(type(job.state.optimizers), "state_tensors", lambda self: dict(enumerate(slots)))
    restored = forecast(job)
    assert fresh is not None
    assert restored is not None
    assert (restored.available or 0) - (fresh.available or 0) == sum(slot.nbytes for slot in slots)


def test_what_the_measurement_of_a_precision_keeps_is_there_for_the_steps(
    toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare_job(RECIPE, "here", toy_data)
    assert isinstance(job, GradientJob)
    monkeypatch.setattr(planning, "free_memory", lambda device: 10**9)
    monkeypatch.setattr(planning, "resident", lambda: 2 * 10**9)
    fresh, measured = forecast(job), forecast(replace(job, kept=10**6))
    assert fresh is not None
    assert measured is not None
    assert (measured.available or 0) - (fresh.available or 0) == 10**6
    assert (fresh.process or 0) - (measured.process or 0) == 10**6


@pytest.mark.long
def test_masked_rows_are_no_wider_than_a_batch(toy_masked_run: Path) -> None:
    tree = {"task": "masked", "start": str(toy_masked_run), "train": {"batch_tokens": 20}}
    found = plan(tree, "here", Devices())
    assert (found.rows, found.width) == (1, 20)


def test_sizes_are_read() -> None:
    assert memory_size("24GB") == 24 * 10**9
    assert memory_size("1.5 GiB") == 1.5 * 2**30
    with pytest.raises(UsageError, match="--memory '24': expected a size"):
        memory_size("24")


class Scaled(nn.Module):
    """A norm of somebody's own, whose scale is a tensor made of a number."""

    position_wise, needs_mask = True, False

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return x * self.scale


class Choosy(Scaled):
    """Another, which selects real pieces by a mask."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        chosen = x[x.abs().sum(-1) > 0]
        return x * self.scale / (1 + chosen.abs().mean())


def test_a_tensor_made_of_a_number_is_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "build_norm", lambda name, d_model, **rest: Scaled(d_model))
    planned = plan(RECIPE, "here", Devices(memory=10**12))
    assert planned.fits
    assert not planned.unknown
    assert planned.memory["parameters"] == planned.memory["gradients"]


@pytest.mark.long
def test_a_model_that_needs_content_is_trained_all_the_same(toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "build_norm", lambda name, d_model, **rest: Choosy(d_model))
    job = prepare_job(RECIPE, "here", toy_data)
    beside_a_run, before_one = forecast(job), plan(RECIPE, "here", Devices(memory=10**12))
    assert beside_a_run is not None
    for planned, lines in ((beside_a_run, beside_a_run.memory_lines()), (before_one, before_one.lines())):
        assert planned.fits is None, "without activations nobody knows"
        assert planned.flops_per_step is None
        assert planned.memory["optimizer"] == 2 * planned.memory["parameters"]
        assert [line for line in lines if "without activations: the model needs tensors with content" in line]
        assert not [line for line in lines if "\n" in line or "does not fit" in line]
    assert plan(RECIPE, "here", Devices(memory=1000)).fits is False


def test_what_cannot_be_built_without_content_is_said_by_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(name: str, d_model: int, **rest: object) -> nn.Module:
        return nn.Linear(int(torch.ones(1).item()), 1)

    monkeypatch.setattr(layer, "build_norm", build)
    with pytest.raises(UsageError, match=r"^the model cannot be forecast: it needs tensors with content: "):
        plan(RECIPE, "here", Devices())


@pytest.mark.long
def test_a_deep_model_and_a_large_batch_are_reckoned_from_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = merge(WIDE, {"model": {"n_layers": 6}})
    whole = plan(tree, "here", Devices())
    monkeypatch.setattr(planning, "MOST_LAYERS", 2)
    monkeypatch.setattr(planning, "MOST_POSITIONS", 48 * 16)
    reckoned = plan(tree, "here", Devices())
    assert reckoned.parameters == whole.parameters
    assert reckoned.flops_per_step == pytest.approx(whole.flops_per_step, rel=1e-6)
    assert reckoned.memory["optimizer"] == pytest.approx(whole.memory["optimizer"], abs=1000)
    assert reckoned.memory["peak"] == pytest.approx(whole.memory["peak"], rel=0.03)  # 2.1 % over, on the safe side


def test_plan_says_where_this_machine_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "memory_limit", lambda device: 1000)
    assert plan(LANGUAGE_MODEL, "here", Devices()).lines()[-1] == "this machine has 1,000 B of memory: it has no room"
    assert "this machine" not in plan(LANGUAGE_MODEL, "here", Devices(memory=10**12)).lines()[-1]
