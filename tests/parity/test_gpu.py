"""A GPU against the CPU, and against itself: losses and gradients, half precision, resumed runs, no waiting in a step.

What means something without a GPU runs on the CPU too; the rest says that it needs one.
"""

import copy
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import clearhead
from clearhead.checkpoint import model_tensors
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.rows import NativeModel
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.training.arrangement import arrange
from clearhead.training.config import MachineConfig
from clearhead.training.distributed import Engine, LossModule
from clearhead.training.generators import seed_generators
from clearhead.training.precision import Precision, PrecisionName
from clearhead.training.step import Outcome, train_step
from tests import toy
from tests.compiled import FAMILIES, Loss, family, told

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]


def take(
    model: nn.Module,
    batches: list[Any],
    loss: Loss,
    *,
    precision: PrecisionName = "float32",
    steps: int = 1,
    **more: Any,
) -> tuple[list[Outcome], Precision]:
    """Takes some steps of AdamW, each from its own seed."""
    device = next(model.parameters()).device.type
    optimizers, numbers = build_optimizers(model, OptimConfig(eps=1e-6), 1e-3), Precision(precision, device)
    outcomes = []
    for step in range(steps):
        seed_generators(step)
        outcomes.append(train_step(model, batches, loss, optimizers, grad_clip_norm=1.0, precision=numbers, **more))
    return outcomes, numbers


@needs_gpu
@pytest.mark.parametrize("name", FAMILIES)
def test_losses_and_gradients_are_those_of_the_cpu(name: str) -> None:
    results = {}
    for device in ("cpu", "cuda"):
        model, batch, loss = family(name, device=device)
        (outcome,), _ = take(model, [batch, batch], loss)
        grads = {key: weight.grad.cpu() for key, weight in model.named_parameters() if weight.grad is not None}
        results[device] = outcome, grads
    (theirs, expected), (ours, found) = results["cpu"], results["cuda"]
    assert (ours.loss, ours.grad_norm) == pytest.approx((theirs.loss, theirs.grad_norm), rel=1e-5)
    assert found.keys() == expected.keys()
    for key, grad in expected.items():
        torch.testing.assert_close(found[key], grad, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_and_weights_stay_whole(name: str, precision: PrecisionName, device: str) -> None:
    whole, batch, loss = family(name, device=device)
    half, _, loss_of_half = family(name, device=device)
    (expected, *_), _ = take(whole, [batch], loss, steps=1)
    (found, *later), _ = take(half, [batch], loss_of_half, precision=precision, steps=8)
    assert found.loss == pytest.approx(expected.loss, rel=0.02)
    assert all(outcome.taken for outcome in later[4:])  # by then the scale of float16 is low enough
    assert later[-1].loss < found.loss
    assert {weight.dtype for weight in half.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in half.parameters() if weight.grad is not None} == {torch.float32}


@pytest.mark.parametrize("device", DEVICES)
def test_a_gradient_that_overflows_skips_the_step_and_halves_the_scale(device: str) -> None:
    model, batch, loss = family("language_model", device=device)
    before = copy.deepcopy(model.state_dict())
    outcomes, numbers = take(model, [batch], lambda one: (loss(one)[0] * 1e30, 1), precision="float16")
    assert [outcome.taken for outcome in outcomes] == [False]
    assert numbers.scaler.get_scale() == 2.0**15
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_bits(name: str, device: str) -> None:
    losses = []
    for _ in range(2):
        model, batch, loss = family(name, dropout=0.2, device=device)
        outcomes, _ = take(model, [batch, batch], loss, precision="bfloat16", steps=3)
        losses.append([outcome.loss for outcome in outcomes])
    assert losses[0] == losses[1]


@needs_gpu
@pytest.mark.long_but(every=6)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_compiled_step_is_the_plain_one_and_draws_the_same_again(name: str, precision: PrecisionName) -> None:
    plain, compiled, dropped, again = told("steps", name, "cuda", precision)
    near = 1e-4 if precision == "float32" else 0.02
    for ours, theirs in zip(compiled, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=near)
    assert again == dropped != compiled


@needs_gpu
@pytest.mark.parametrize("compile_layers", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_waits_for_the_gpu_once(name: str, compile_layers: bool) -> None:
    model, batch, loss = family(name, dropout=0.1, device="cuda")
    inside = arrange(model, MachineConfig(compile=True)) if compile_layers else LossModule(model)
    words: dict[str, Any] = {
        "grad_clip_norm": 1.0,
        "precision": Precision("bfloat16", "cuda"),
        "engine": Engine(inside),
    }
    optimizers = build_optimizers(model, OptimConfig(), 1e-3)
    for _ in range(2):
        train_step(model, [batch, batch], loss, optimizers, **words)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            train_step(model, [batch, batch], loss, optimizers, **words)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [str(each.message) for each in told if "synchronizing" in str(each.message)][1:] == []
    assert any("synchronizing" in str(each.message) for each in told)  # the numbers of the step itself


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "recipe", [toy.RECIPE, toy.LANGUAGE_MODEL, toy.MASKED], ids=["translation", "language_model", "masked"]
)
@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.long)])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(
    recipe: dict[str, Any], precision: str, device: str, tmp_path: Path, toy_data: Path
) -> None:
    data = {"translation": toy_data}.get(str(recipe.get("task", "translation"))) or documents(recipe, tmp_path)
    settings = {"precision": precision, "device": device, "evaluate_every": 0, "checkpoint_every": 0, "max_steps": 6}
    tree = {**recipe, "train": {**recipe["train"], **settings}}
    model = {**recipe.get("model", {}), "dropout": 0.2}
    whole = trained({**tree, "model": model}, data, tmp_path / "whole", 6)
    trained({**tree, "model": model}, data, tmp_path / "parts", 3)
    parts = toy.resumed(tmp_path / "parts" / "run", data, max_steps=6)
    list(parts.fit(tmp_path / "parts" / "run", lambda: False))
    state = toy.resumed(whole, data, max_steps=6).state
    expected = {**model_tensors(state.model), **state.optimizers.state_tensors()}
    found = {**model_tensors(parts.state.model), **parts.state.optimizers.state_tensors()}
    assert next(iter(model_tensors(parts.state.model).values())).device.type == device
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


def documents(recipe: dict[str, Any], folder: Path) -> Path:
    lines = [english for _, english in toy.demo_lines(60)]
    return (toy.write_articles if recipe["task"] == "masked" else toy.write_documents)(folder / "data", lines)


def trained(tree: dict[str, Any], data: Path, folder: Path, steps: int) -> Path:
    """Trains up to a step of a schedule that ends later, and returns the run."""
    folder.mkdir()
    return toy.learn(folder, {**tree, "train": {**tree["train"], "max_steps": steps}}, data)


@needs_gpu
def test_a_run_speaks_on_a_gpu_without_the_engine_as_it_does_on_the_cpu(toy_run: Path, toy_lm_run: Path) -> None:
    sources = [chinese for chinese, _ in toy.demo_lines(6)]
    said: dict[str, list[str]] = {}
    for device in ("cpu", "cuda"):
        translator: Any = clearhead.load(toy_run, device=device, engine="torch")
        writer: Any = clearhead.load(toy_lm_run, device=device, engine="torch")
        assert not isinstance(writer.writer, NativeModel)
        texts = [each.text for each in translator.translate(sources)] + [translator.translate(sources, beam=1)[0].text]
        greedy = SamplingConfig(temperature=0.0)
        said[device] = texts + [text.text for text in writer.generate(["the", "we"], sampling=greedy)]
    assert said["cuda"] == said["cpu"]


@needs_gpu
def test_a_model_on_a_gpu_needs_no_engine_to_be_asked_for(toy_lm_run: Path) -> None:
    writer: Any = clearhead.load(toy_lm_run, device="cuda")
    assert not isinstance(writer.writer, NativeModel)
    assert dataclasses.is_dataclass(writer.recipe)
