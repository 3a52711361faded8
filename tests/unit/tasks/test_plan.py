"""Plans: each family, shares of devices, what is advised where a run does not fit."""

from pathlib import Path

import pytest

from clearhead.config import merge
from clearhead.errors import UsageError
from clearhead.tasks.classifier import Classifier
from clearhead.tasks.masked_model import MaskedModel
from clearhead.tasks.plan import Devices, memory_size, plan
from tests.toy import CLASSIFY, LANGUAGE_MODEL, MASKED, RECIPE

WIDE = merge(LANGUAGE_MODEL, {"train": {"batch_tokens": 48 * 64}})


@pytest.mark.parametrize("tree", [RECIPE, LANGUAGE_MODEL, MASKED, CLASSIFY], ids=lambda tree: str(tree["name"]))
def test_every_family_is_forecast(tree: dict[str, object]) -> None:
    found = plan(tree, "here", Devices(rate=1e9))
    assert found.memory["peak"] > 2 * found.memory["parameters"]
    assert found.seconds_per_step == found.flops_per_step / 1e9
    assert found.communication_bytes_per_step == 0
    assert found.fits is None
    assert f"{found.parameters:,} parameters" in found.lines()[0]


def test_what_begins_with_a_trained_model_has_its_sizes(toy_masked_run: Path, toy_classifier: Path) -> None:
    models = MaskedModel.load(toy_masked_run).model, Classifier.load(toy_classifier).model
    for run, model, task in zip((toy_masked_run, toy_classifier), models, ("masked", "classify"), strict=True):
        tree = {"task": task, "start": str(run), "train": {"batch_tokens": 600}}
        found = plan(tree, "here", Devices())
        assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert found.width == model.config.max_seq_len
        assert plan(merge(tree, {"model": {"max_seq_len": 8}}), "here", Devices()).width == 8
    small = {"task": "masked", "start": str(toy_masked_run), "masked": {"lora": {"rank": 1}}}
    whole, adapted = (plan(tree, "here", Devices()).memory for tree in ({**small, "masked": {}}, small))
    assert adapted["gradients"] < whole["gradients"], "frozen weights have none"
    assert adapted["parameters"] > whole["parameters"]


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


def test_sizes_are_read() -> None:
    assert memory_size("24GB") == 24 * 10**9
    assert memory_size("1.5 GiB") == 1.5 * 2**30
    with pytest.raises(UsageError, match="--memory '24': expected a size"):
        memory_size("24")
