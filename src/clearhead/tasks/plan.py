"""What a recipe will take before anything is trained: memory, products, time, for one device or many."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.config import Tree, as_tree
from clearhead.data.labelled import Labels
from clearhead.data.labelled_batches import LabelledBatch
from clearhead.data.masked import MaskedBatch
from clearhead.data.stream import StreamBatch
from clearhead.data.translation import Batch
from clearhead.errors import UsageError
from clearhead.models.bert import BertClassifier, BertPretraining
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.lora import add_lora
from clearhead.tasks import classify, language_model, masked, translation
from clearhead.tasks.catalog import task_of
from clearhead.tasks.encoder_start import open_encoder
from clearhead.tasks.job import Recipe
from clearhead.tasks.start import open_start, start_of
from clearhead.train.simulation import Simulated, simulate

MASKED_SHARE = 0.15
GIB = 2**30


@dataclass(frozen=True)
class Devices:
    """What a run is planned for."""

    count: int = 1
    memory: int | None = None
    """Bytes of one of them; None: not said."""
    rate: float | None = None
    """Products and sums a second that one of them reaches; None: not said."""
    bandwidth: float = 25e9
    """Bytes a second between two of them."""


@dataclass(frozen=True)
class Plan:
    """What one device of a run holds and computes."""

    recipe: str
    parameters: int
    devices: int
    parallel: str
    rows: int
    """Of the largest batch, over all devices."""
    width: int
    """Positions of a row."""
    tokens_per_step: int
    """Positions, over all devices and batches of a step."""
    memory: dict[str, int]
    """Bytes on one device by what they are for; ``peak`` is less than their sum: gradients come as activations go."""
    flops_per_step: float
    """Over all devices."""
    seconds_per_step: float | None
    """Products alone, at the rate that was said."""
    communication_bytes_per_step: float
    """Sent by one device."""
    communication_seconds_per_step: float
    """If nothing of it goes on beside the products; much does."""
    fits: bool | None
    advice: list[str]

    def lines(self) -> list[str]:
        """The same as text."""
        named = ", ".join(f"{name.replace('_', ' ')} {_size(value)}" for name, value in self.memory.items() if value)
        found = [
            f"{self.recipe}: {self.parameters:,} parameters; a batch of {self.rows:,} rows x {self.width:,}, "
            f"{self.tokens_per_step:,} positions a step",
            f"{self.devices} device{'s' * (self.devices > 1)}"
            f"{f' ({self.parallel})' * (self.devices > 1)}, each: {named}",
            f"a step: {self.flops_per_step / 1e12:,.3f} TFLOP in all"
            + (f", {self.seconds_per_step:,.3f} s of products" if self.seconds_per_step is not None else ""),
        ]
        if self.devices > 1:
            found.append(
                f"between devices: each sends {_size(int(self.communication_bytes_per_step))} a step, "
                f"{self.communication_seconds_per_step:,.3f} s where nothing else goes on meanwhile"
            )
        if self.fits is not None:
            found.append("fits" if self.fits else "does not fit")
        return found + self.advice


@dataclass(frozen=True)
class Example:
    """A model and a batch without padding, of any number of rows."""

    build: Callable[[], nn.Module]
    loss: Callable[[nn.Module, int], Tensor]
    """(model, rows) -> the loss of a batch."""
    width: int


def plan(tree: Tree, source: str, devices: Devices, *, vocab_size: int | None = None) -> Plan:
    """Forecasts a recipe without text: widest rows, the largest vocabulary that the recipe allows.

    Args:
        tree: the recipe.
        source: what to call it in errors.
        devices: what it is to run on.
        vocab_size: pieces; None takes ``tokenizer.vocab_size``.

    Raises:
        UsageError: the recipe is wrong, or its task or model is none that can be forecast.
    """
    recipe, example = example_of(tree, source, vocab_size)
    train = recipe.train
    rows = max(train.batch_tokens // example.width, 1)
    own = max(math.ceil(rows / devices.count), 1)
    simulated = _simulated(recipe, example, own)
    memory = _on_each(simulated, devices.count, train.parallel)
    flops = simulated.flops / own * rows * train.grad_accum_steps
    sent = _sent(simulated, devices.count, train.parallel, train.grad_accum_steps)
    fits = None if devices.memory is None else memory["peak"] <= devices.memory
    advice = [] if rows >= devices.count else [
        f"a batch has {rows} rows for {devices.count} devices, the rest idles: raise train.batch_tokens to "
        f"{devices.count * example.width} at least"
    ]  # fmt: skip
    if devices.memory is not None and not fits:
        advice += _advice(recipe, example, devices, own)
    return Plan(
        recipe=str(tree.get("name", source)),
        parameters=simulated.parameters,
        devices=devices.count,
        parallel=train.parallel,
        rows=rows,
        width=example.width,
        tokens_per_step=rows * example.width * train.grad_accum_steps,
        memory=memory,
        flops_per_step=flops,
        seconds_per_step=flops / min(devices.count, rows) / devices.rate if devices.rate else None,
        communication_bytes_per_step=sent,
        communication_seconds_per_step=sent / devices.bandwidth,
        fits=fits,
        advice=advice,
    )


def _simulated(recipe: Recipe, example: Example, rows: int, **changes: Any) -> Simulated:
    machine = replace(recipe.train, **changes)
    loss = lambda model: example.loss(model, rows)  # noqa: E731
    return simulate(example.build, loss, machine, recipe.optim, batches=machine.grad_accum_steps)


def _on_each(found: Simulated, count: int, parallel: str) -> dict[str, int]:
    """Returns what one device holds; what FSDP gathers for a while is counted with the activations."""
    states = {
        "parameters": found.parameter_bytes,
        "gradients": found.gradient_bytes,
        "optimizer": found.optimizer_bytes,
        "average": found.average_bytes,
    }
    activations, peak = found.activation_bytes, found.peak_bytes
    if count > 1 and parallel == "fsdp":
        # whole, with their gradients: two layers, one in use and one on its way, and what is around the layers
        gathered = 2 * (2 * found.layer_bytes + found.parameter_bytes - found.layers_bytes)
        parts = {name: math.ceil(value / count) for name, value in states.items()}
        activations += gathered - min(found.gradient_bytes, activations)  # whole gradients do not pile up
        peak = sum(parts.values()) + activations
        states = parts
    return {**states, "activations": activations, "peak": peak}


def _sent(found: Simulated, count: int, parallel: str, batches: int) -> float:
    """Bytes that a device sends in a step: a ring passes on (n - 1) / n of all to gather, and again to sum."""
    if count == 1:
        return 0.0
    part = (count - 1) / count
    if parallel == "ddp":
        return 2 * part * found.gradient_bytes
    return part * (2 * batches * found.parameter_bytes + found.gradient_bytes)


def _advice(recipe: Recipe, example: Example, devices: Devices, rows: int) -> list[str]:
    """Returns changes that would make a run fit, each by itself."""
    assert devices.memory is not None
    found, train = [], recipe.train
    for key, value in (("checkpoint_activations", True), ("precision", "bfloat16"), ("parallel", "fsdp")):
        if getattr(train, key) == value or (key == "parallel" and devices.count == 1):
            continue
        changed = _simulated(recipe, example, rows, **({} if key == "parallel" else {key: value}))
        parallel = value if key == "parallel" else train.parallel
        peak = _on_each(changed, devices.count, str(parallel))["peak"]
        if peak <= devices.memory:
            shown = str(value).lower() if isinstance(value, bool) else value
            found.append(f"--set train.{key}={shown}: {_size(peak)}, fits")
    parts = 2
    while rows // parts:
        changed = _simulated(recipe, example, rows // parts, grad_accum_steps=train.grad_accum_steps * parts)
        peak = _on_each(changed, devices.count, train.parallel)["peak"]
        if peak <= devices.memory:
            keys = f"train.batch_tokens={train.batch_tokens // parts} --set train.grad_accum_steps="
            found.append(f"--set {keys}{train.grad_accum_steps * parts}: {_size(peak)}, fits, the same step")
            break
        parts *= 2
    return found or ["nothing of train.* makes it fit: a smaller model, or more devices with train.parallel = 'fsdp'"]


def example_of(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    """Returns the recipe and what stands for its model and its text.

    Raises:
        UsageError: as in ``plan``.
        ModelError: what the recipe starts from cannot be read.
    """
    task = task_of(tree, source)
    if start_of(tree):
        tree, pieces = _begun(tree, source)
        vocab_size = vocab_size or pieces
    match task:
        case "translation":
            return _translation(tree, source, vocab_size)
        case "language_model":
            return _language_model(tree, source, vocab_size)
        case "masked":
            return _masked(tree, source, vocab_size)
        case "classify":
            return _classify(tree, source, vocab_size)
    raise UsageError(f"{source}: task = {task!r}: only Transformers are forecast")


def _begun(tree: Tree, source: str) -> tuple[Tree, int]:
    """Returns a recipe with the sizes of the trained model that it starts from, and the pieces of its vocabulary."""
    path = Path(start_of(tree))
    if tree["task"] == "classify":
        encoder = open_encoder(path)
        return as_tree(encoder.begun(tree, source)), encoder.tokenizer.vocab_size
    start = open_start(path, task=tree["task"])
    if tree["task"] == "masked":
        return as_tree(start.begun(tree, source, masked.parse_masked)), start.tokenizer.vocab_size
    return as_tree(start.begun(tree, source, language_model.parse_language_model)), start.tokenizer.vocab_size


def _ids(rows: int, width: int) -> Tensor:
    return torch.zeros(rows, width, dtype=torch.long)


def _translation(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = translation.parse_recipe({"src": "src", "tgt": "tgt", **tree}, source)
    config, pieces = recipe.model, vocab_size or recipe.tokenizer.vocab_size
    assert isinstance(config, TransformerConfig)
    width = recipe.data.max_len + 1

    def loss(model: nn.Module, rows: int) -> Tensor:
        ids = _ids(rows, width)
        assert isinstance(model, Transformer)
        batch = Batch(ids, None, ids, ids, ids.numel(), torch.zeros(rows, dtype=torch.long))
        return translation.batch_loss(model, batch, recipe.loss)[0]

    return recipe, Example(partial(Transformer, config, src_vocab_size=pieces, vocab_size=pieces), loss, width)


def _language_model(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = language_model.parse_language_model(tree, source)
    config, pieces = recipe.model, vocab_size or recipe.tokenizer.vocab_size
    assert isinstance(config, GPTConfig)
    width = config.max_seq_len

    def loss(model: nn.Module, rows: int) -> Tensor:
        ids = _ids(rows, width)
        assert isinstance(model, GPT)
        return language_model.batch_loss(model, StreamBatch(ids, ids, ids.numel()), recipe.loss)[0]

    def build() -> nn.Module:
        model = GPT(config, vocab_size=pieces)
        if recipe.lora:
            add_lora(model, recipe.lora)
        return model

    return recipe, Example(build, loss, width)


def _masked(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = masked.parse_masked(tree, source)
    pieces, width = vocab_size or recipe.tokenizer.vocab_size, recipe.model.max_seq_len
    nsp = recipe.masked.next_sentence

    def loss(model: nn.Module, rows: int) -> Tensor:
        ids, hidden = _ids(rows, width), int(MASKED_SHARE * rows * width)
        found = torch.zeros(hidden, dtype=torch.long)
        labels = torch.zeros(rows, dtype=torch.long) if nsp else None
        assert isinstance(model, BertPretraining)
        batch = MaskedBatch(ids, ids, torch.ones_like(ids).bool(), found, found, labels, hidden)
        return masked.batch_loss(model, batch, recipe.loss)[0]

    def build() -> nn.Module:
        return masked.adapt(BertPretraining(recipe.model, vocab_size=pieces, nsp=nsp), recipe.masked.lora)

    return recipe, Example(build, loss, width)


def _classify(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = classify.parse_classify(tree, source)
    pieces, width = vocab_size or recipe.tokenizer.vocab_size, recipe.model.max_seq_len
    objective = classify.Objective(Labels(("no", "yes"), pairs=False))

    def loss(model: nn.Module, rows: int) -> Tensor:
        ids, rest = _ids(rows, width), torch.zeros(rows, dtype=torch.long)
        batch = LabelledBatch(ids, ids, torch.ones_like(ids).bool(), rest, rest, rows)
        return objective.loss_of(model, batch)[0]

    build = partial(BertClassifier, recipe.model, vocab_size=pieces, kind="sequence", n_labels=2)
    return recipe, Example(build, loss, width)


def memory_size(text: str) -> int:
    """Reads ``24GB``, ``80GiB`` or ``512MB`` as bytes; raises UsageError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    if not found:
        raise UsageError(f"--memory {text!r}: expected a size such as 24GB or 80GiB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit.upper()) + 1))


def _size(count: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:,.0f} B"
