"""A training process forked from a warm parent: what it is made to note, how it ends, what it leaves."""

import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic  # noqa: F401 what a training process loads in its course is loaded before it is forked
import tomlkit  # noqa: F401
import torch
import torch._dynamo

from clearhead.checkpoint import load_checkpoint, verify_checkpoint
from clearhead.errors import ModelError
from clearhead.runs.pointers import find_checkpoint
from clearhead.training import loop
from clearhead.training.writers import read_metrics
from clearhead.verbs import train as training
from tests.reliability.faults import Fault, arm

LONGEST = 600  # seconds after which a process hangs


@dataclass(frozen=True)
class Place:
    """Where a run is and what it is of."""

    recipe: Path
    data: Path
    run: Path

    @property
    def order(self) -> Path:
        """Gets a line for each step: its number and a digest of its batches."""
        return self.run.with_suffix(".order")

    @property
    def log(self) -> Path:
        """Gets what the processes say."""
        return self.run.with_suffix(".log")


def train_in_child(place: Place, fault: Fault | None = None) -> tuple[str, float]:
    """Trains in a forked process, from the newest checkpoint on; returns how it ended, and after how many seconds.

    It ends as ``done``, ``killed``, ``interrupted`` or ``failed``.
    """
    started = time.monotonic()
    child = os.fork()
    if not child:
        _child(place, fault)
    limit = fault.at if fault is not None and fault.point == "clock" else LONGEST
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() - started < limit:
        time.sleep(0.002)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
        if limit == LONGEST:
            return "failed", LONGEST
    status = ended[1]
    if os.WIFSIGNALED(status):
        how = "killed" if os.WTERMSIG(status) == signal.SIGKILL else "failed"
    else:
        how = {0: "done", 9: "interrupted"}.get(os.WEXITSTATUS(status), "failed")
    return how, time.monotonic() - started


def _child(place: Place, fault: Fault | None) -> None:
    """Never returns."""
    code = 1
    try:
        descriptor = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.write(1, f"--- process {os.getpid()}, {fault}\n".encode())
        training.draw_curves = lambda *_: False  # type: ignore[assignment,misc]
        _note_batches(place.order)
        _draw_from_every_generator()
        if fault is not None:
            arm(fault)
        result = training.train(place.recipe, data=place.data, out=place.run, resume=True)
        code = 9 if result.reason == "interrupted" else 0
        os.write(1, f"    {result.reason} at step {result.step}\n".encode())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _note_batches(order: Path) -> None:
    """Makes every step leave a digest of its batches."""
    real, descriptor = loop.step_on, os.open(order, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(state: Any, group: Any, work: Any, step: int, **more: Any) -> Any:
        found = hashlib.sha256()
        for batch in group:
            for field in dataclasses.fields(batch):
                value = getattr(batch, field.name)
                found.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())
        os.write(descriptor, f"{step} {state.epoch} {found.hexdigest()}\n".encode())
        return real(state, group, work, step, **more)

    loop.step_on = noted


def _draw_from_every_generator() -> None:
    """Makes the loss depend on the generators of Python and NumPy, as a loss of a user's own may.

    Each process begins with states of its own.
    """
    random.seed(os.getpid())
    np.random.seed(os.getpid())
    real = loop.step_on

    def noisy(state: Any, group: Any, work: Any, step: int, **more: Any) -> Any:
        def loss_of(batch: Any) -> Any:
            summed, count = work.loss_of(batch)
            return summed * (1 + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.standard_normal())), count

        return real(state, group, dataclasses.replace(work, loss_of=loss_of), step, **more)

    loop.step_on = noisy


def outcome(place: Place) -> dict[str, str]:
    """Returns digests of all that a run has come to, by part; times are left out."""
    latest, best = (find_checkpoint(place.run, which) for which in ("latest", "best"))
    assert latest is not None
    assert best is not None
    saved = load_checkpoint(latest)
    found = {"latest": latest.name, "best": best.name}
    for stem, tensors in saved.tensors.items():
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
            digest.update(tensors[name].contiguous().view(torch.uint8).numpy().tobytes() if tensors[name].ndim else b"")
            digest.update(repr(tensors[name].item()).encode() if not tensors[name].ndim else b"")
        found[stem] = digest.hexdigest()
    state = {name: value for name, value in saved.state.items() if name != "seconds"}
    found |= {f"state.{name}": json.dumps(value, sort_keys=True) for name, value in state.items()}
    found |= {name: digest for name, (_, digest) in verify_checkpoint(latest).items() if "/" in name or "toml" in name}
    # of steps that were taken again after a death the last time counts, which the checkpoint comes from
    lines = [line.split(" ", 1) for line in place.order.read_text().splitlines()]
    found["batches"] = json.dumps(dict(lines), sort_keys=True)
    stepped = [(one["step"], one["loss"]) for one in read_metrics(place.run / "metrics.jsonl") if "loss" in one]
    found["metrics"] = repr(stepped)
    return found


def newest_step(run: Path) -> int:
    """Returns the step of the checkpoint that ``latest`` names, having read it in whole; -1 without any.

    Raises:
        ModelError: it does not load: it is lost.
    """
    pointer = run / "checkpoints" / "latest"
    if not pointer.exists():
        return -1
    name = pointer.read_text().strip()
    path = run / "checkpoints" / name
    # killed between its two names: the next process gives the old one its own again
    path = path if path.is_dir() else path.with_name(f"{name}.old")
    if not path.is_dir():
        raise ModelError(f"{path} is gone")
    return int(load_checkpoint(path).state["step"])
