"""What a recipe will take before anything is trained: memory, products, time, for one device or many."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from clearhead.config import Tree
from clearhead.errors import UsageError
from clearhead.training.config import MachineConfig, TrainConfig
from clearhead.training.device import KEPT_SHARE, can_keep, free_memory, resident
from clearhead.training.distributed import ranks
from clearhead.training.job import GradientJob, Recipe
from clearhead.training.simulation import Simulated, simulate
from clearhead.verbs.example import Example, example_of, example_of_job

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
    kept: float = 0.0
    """Memory that a heap holds in holes, over the activations; an allocator of a device has next to none."""
    copied: bool = False
    """Whether the copy of a checkpoint on its way to the disk lies there too, while the next steps are taken."""


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
    available: int | None
    """Bytes of a device; None: not said."""
    process: int | None
    """Bytes that the process will hold at its peak, its libraries and its text too; None: not known."""
    fits: bool | None
    advice: list[str]

    def lines(self) -> list[str]:
        """The same as text."""
        memory = _named(self.memory)
        lines = [
            f"{self.recipe}: {self.parameters:,} parameters; a batch of {self.rows:,} rows x {self.width:,}, "
            f"{self.tokens_per_step:,} positions a step",
            f"{self.devices} device{'s' * (self.devices > 1)}"
            f"{f' ({self.parallel})' * (self.devices > 1)}, each: {memory}",
            f"a step: {self.flops_per_step / 1e12:,.3f} TFLOP in all"
            + (f", {self.seconds_per_step:,.3f} s of products" if self.seconds_per_step is not None else ""),
        ]
        if self.devices > 1:
            lines.append(
                f"between devices: each sends {_size(int(self.communication_bytes_per_step))} a step, "
                f"{self.communication_seconds_per_step:,.3f} s where nothing else goes on meanwhile"
            )
        if self.fits is not None:
            lines.append("fits" if self.fits else "does not fit")
        return lines + self.advice

    def memory_lines(self) -> list[str]:
        """What a process will hold, in a line; in a second one that it does not fit, and what would."""
        free = f"; {_size(self.available)} for it" if self.available is not None else ""
        lines = [f"memory forecast: {_named(self.memory)} (batches of {self.rows:,} rows x {self.width:,}){free}"]
        if self.process is not None:
            lines[0] += f"; the process {_size(self.process)}, with PyTorch and the text"
        if self.fits is False:
            lines.append(f"warning: memory: that does not fit; {' or '.join(self.advice)}")
        return lines


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
    return plan_of(recipe, example, devices, name=str(tree.get("name", source)))


def plan_of(recipe: Recipe, example: Example, devices: Devices, *, name: str) -> Plan:
    """Forecasts a run of ``recipe`` on batches that are full.

    Args:
        recipe: says how much is computed at a time, and in what way.
        example: stands for the model and the text.
        devices: what it is to run on.
        name: of the recipe.
    """
    train = recipe.train
    rows = max(train.batch_tokens // example.width, 1)
    own = max(math.ceil(rows / devices.count), 1)
    simulated = _simulated(recipe, example, own)
    memory = _on_each(simulated, devices, train)
    flops = simulated.flops / own * rows * train.grad_accum_steps
    sent = _sent(simulated, devices.count, train)
    fits = None if devices.memory is None else memory["peak"] <= devices.memory
    advice = [] if rows >= devices.count else [
        f"a batch has {rows} rows for {devices.count} devices, the rest idles: raise train.batch_tokens to "
        f"{devices.count * example.width} at least"
    ]  # fmt: skip
    if devices.memory is not None and not fits:
        advice += _advice(recipe, example, devices, own)
    return Plan(
        recipe=name,
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
        available=devices.memory,
        process=None,
        fits=fits,
        advice=advice,
    )


def forecast(job: GradientJob[Any, Any]) -> Plan | None:
    """Forecasts a process of a run whose text has been read, beside what its device has.

    That is what is free and what the run holds already: weights and, where it goes on, the optimizer's state. Batches
    are full, with rows as wide as the widest. None for a recurrent model. Takes no random number. On a CPU counts what
    the heap keeps (see ``keep_freed_memory``), a checkpoint's copy, and what the process holds by now.
    """
    example, recipe = example_of_job(job), job.recipe
    if example is None:
        return None
    models = [job.state.model, *([] if job.state.ema is None else [job.state.ema.module])]
    world, free = ranks().world, free_memory(job.device)
    tensors = [tensor for model in models for tensor in model.state_dict().values()]
    held = sum(tensor.nbytes for tensor in [*tensors, *job.state.optimizers.state_tensors().values()])
    held //= world if recipe.train.parallel == "fsdp" else 1
    on_cpu, now = job.device.type == "cpu", resident()
    kept = KEPT_SHARE if on_cpu and can_keep() else 0.0
    devices = Devices(world, None if free is None else free + held, kept=kept, copied=on_cpu)
    planned = plan_of(recipe, example, devices, name=recipe.name)
    return replace(planned, process=now - held + planned.memory["peak"]) if now is not None and on_cpu else planned


def _simulated(recipe: Recipe, example: Example, rows: int, **changes: Any) -> Simulated:
    machine = replace(recipe.train, **changes)

    def loss(model: nn.Module) -> Tensor:
        return example.loss(model, rows)

    return simulate(example.build, loss, machine, recipe.optim, batches=machine.grad_accum_steps)


def _on_each(found: Simulated, devices: Devices, train: MachineConfig) -> dict[str, int]:
    """Returns what one device holds; what FSDP gathers for a while is counted with the activations."""
    states = {
        "parameters": found.parameter_bytes,
        "gradients": found.gradient_bytes,
        "optimizer": found.optimizer_bytes,
        "average": found.average_bytes,
    }
    activations, peak, count = found.activation_bytes, found.peak_bytes, devices.count
    if count > 1 and train.parallel == "fsdp":
        # whole, with their gradients: two layers, one in use and one on its way, and what is around the layers
        gathered = 2 * (int(2 * _share(train) * found.layer_bytes) + found.parameter_bytes - found.layers_bytes)
        parts = {name: math.ceil(value / count) for name, value in states.items()}
        activations += gathered - min(found.gradient_bytes, activations)  # whole gradients do not pile up
        peak = sum(parts.values()) + activations
        states = parts
    copied = found.parameter_bytes + found.optimizer_bytes + found.average_bytes  # whole, in the first process
    more = {"kept_by_the_heap": int(devices.kept * activations), "checkpoint_copy": copied if devices.copied else 0}
    more = {name: size for name, size in more.items() if size}
    return {**states, "activations": activations, **more, "peak": peak + sum(more.values())}


def _share(train: MachineConfig) -> float:
    """What FSDP gathers of a layer, over its bytes in float32; the norms, which stay so, are next to nothing."""
    return 1.0 if train.precision == "float32" else 0.5


def _sent(found: Simulated, count: int, train: TrainConfig) -> float:
    """Bytes that a device sends in a step: a ring passes on (n - 1) / n of all to gather, and again to sum."""
    if count == 1:
        return 0.0
    part = (count - 1) / count
    if train.parallel == "ddp":
        return 2 * part * found.gradient_bytes
    gathered = found.parameter_bytes - (1 - _share(train)) * found.layers_bytes
    return part * (2 * train.grad_accum_steps * gathered + found.gradient_bytes)


def _advice(recipe: Recipe, example: Example, devices: Devices, rows: int) -> list[str]:
    """Returns changes that would make a run fit, each by itself."""
    assert devices.memory is not None
    advice, train = [], recipe.train
    for key, value in (("checkpoint_activations", True), ("precision", "bfloat16"), ("parallel", "fsdp")):
        if getattr(train, key) == value or (key == "parallel" and devices.count == 1):
            continue
        changed = _simulated(recipe, example, rows, **({} if key == "parallel" else {key: value}))
        changes: dict[str, Any] = {key: value}
        peak = _on_each(changed, devices, replace(train, **changes))["peak"]
        if peak <= devices.memory:
            shown = str(value).lower() if isinstance(value, bool) else value
            advice.append(f"--set train.{key}={shown}: {_size(peak)}, fits")
    parts = 2
    while rows // parts:
        changed = _simulated(recipe, example, rows // parts, grad_accum_steps=train.grad_accum_steps * parts)
        peak = _on_each(changed, devices, train)["peak"]
        if peak <= devices.memory:
            keys = f"train.batch_tokens={train.batch_tokens // parts} --set train.grad_accum_steps="
            advice.append(f"--set {keys}{train.grad_accum_steps * parts}: {_size(peak)}, fits, the same step")
            break
        parts *= 2
    return advice or ["nothing of train.* makes it fit: a smaller model, or more devices with train.parallel = 'fsdp'"]


def _named(memory: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_size(value)}" for name, value in memory.items() if value)


def memory_size(text: str) -> int:
    """Reads ``24GB``, ``80GiB`` or ``512MB`` as bytes; raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"--memory {text!r}: expected a size such as 24GB or 80GiB")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit.upper()) + 1))


def _size(count: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:,.0f} B"
