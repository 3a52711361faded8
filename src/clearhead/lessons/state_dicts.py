"""The three state dicts of a training run, of model, optimizer and schedule: what each holds, and what needs it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from clearhead.checkpoint import model_tensors
from clearhead.drawing.report import Note, Part, Table, amount
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.optim.schedule import lr_factor

LIMITS = {"steps": (5, 200), "more": (2, 100)}
VOCABULARY, LENGTH, KINDS = 50, 16, ("model", "optimizer", "schedule")
NAME = "norm.weight"  # the tensor that is looked at


@dataclass(frozen=True)
class Dicts:
    """What was measured."""

    held: dict[str, tuple[str, int, int]]
    """Of each state dict the first keys, the number of tensors, and their bytes."""
    parameter_bytes: int
    names: list[int]
    """How often a weight with two names is in the state dict, and in a checkpoint of clearhead."""
    moved: tuple[float, float]
    """By how much a state dict changes while training goes on, and by how much a copy of it."""
    resumed: dict[str, float]
    """By what was restored: how far the weights are from those of the run that simply went on."""
    refused: list[str]
    """What is said about a state dict with one key missing and one too many; with ``strict=False`` about a shape."""
    lenient: tuple[list[str], list[str], list[str]]
    """With ``strict=False``: the keys that were missing, those not expected, and those that keep other values."""


class Run:
    """A model, its optimizer and its schedule; batches follow from the number of the step alone."""

    def __init__(self, seed: int, last: int) -> None:
        torch.manual_seed(seed)
        self.model = GPT(GPTConfig(d_model=32, n_heads=2, n_layers=1, dropout=0.0), vocab_size=VOCABULARY)
        self.optimizer = AdamW(self.model.parameters(), lr=1e-2)
        self.schedule = LambdaLR(self.optimizer, partial(lr_factor, "linear", warmup_steps=5, max_steps=last + 1))

    def train(self, first: int, last: int) -> None:
        """Takes some steps."""
        for step in range(first, last):
            ids = torch.randint(VOCABULARY, (8, 1), generator=torch.Generator().manual_seed(step))
            text = (ids + 7 * torch.arange(LENGTH + 1)) % VOCABULARY  # the next piece is always 7 more
            loss = cross_entropy(self.model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()


def run(*, steps: int = 20, more: int = 20, seed: int = 0) -> Dicts:
    """Trains, saves, goes on, and resumes with one, two and all three of the state dicts."""
    trained = Run(seed, steps + more)
    trained.train(0, steps)
    same = {kind: getattr(trained, kind).state_dict() for kind in KINDS}
    saved, before = copied(same), same["model"][NAME].clone()
    trained.train(steps, steps + more)
    moved = (float((same["model"][NAME] - before).norm()), float((saved["model"][NAME] - before).norm()))
    resumed = {}
    for count in range(1, 4):
        other = Run(seed + 1, steps + more)
        for kind in KINDS[:count]:
            getattr(other, kind).load_state_dict(copied(saved[kind]))  # an optimizer goes on with the very tensors
        other.train(steps, steps + more)
        both = torch.stack([parameters_to_vector(side.model.parameters()).detach() for side in (trained, other)])
        resumed[KINDS[count - 1]] = float(both.diff(dim=0).abs().max())
    held = {kind: look(same[kind]) for kind in KINDS}
    parameters = sum(parameter.nbytes for parameter in trained.model.parameters())
    dicts, table = (same["model"], model_tensors(trained.model)), trained.model.lm_head.weight.data_ptr()
    names = [[tensor.data_ptr() for tensor in its.values()].count(table) for its in dicts]
    return Dicts(held, parameters, names, moved, resumed, *refusals(saved["model"]))


def copied(value: Any) -> Any:
    """Copies a state dict; the tensors in it are those with which training goes on."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


def look(content: dict[str, Any]) -> tuple[str, int, int]:
    """Returns the first keys of a state dict (of an optimizer: those of its state), the number and bytes of tensors."""
    keys = [f"{key}: {', '.join(slots)}" for key, slots in content.get("state", {}).items()] or [*content]
    held = [value for part in (content, *content.get("state", {}).values()) for value in part.values()]
    tensors = {value.data_ptr(): value for value in held if isinstance(value, Tensor)}  # a shared one counts once
    return "; ".join(map(str, keys[:3])), len(tensors), sum(tensor.nbytes for tensor in tensors.values())


def refusals(saved: dict[str, Tensor]) -> tuple[list[str], tuple[list[str], list[str], list[str]]]:
    """Loads a state dict without one of its keys and with another, strictly and not, and one of another shape."""
    changed, model = {("extra" if name == NAME else name): saved[name] for name in saved}, Run(0, 1).model
    said = []
    for wrong, strict in ((changed, True), ({NAME: saved[NAME][:1]}, False)):
        try:
            model.load_state_dict(wrong, strict=strict)
        except RuntimeError as error:
            said.append(" ".join(str(error).split()))
    keys = model.load_state_dict(changed, strict=False)
    left = [name for name, tensor in model.state_dict().items() if not tensor.equal(saved[name])]
    return said, (list(keys.missing_keys), list(keys.unexpected_keys), left)


def check(measured: Dicts) -> Claims:
    """Returns whether each sentence of the answer holds."""
    held, resumed = measured.held, measured.resumed
    return {
        "model": measured.moved[0] > 1e-3 and measured.moved[1] == 0,
        "twice": measured.names == [2, 1],
        "optimizer": held["optimizer"][0].startswith("0:")
        and 1.95 < held["optimizer"][2] / measured.parameter_bytes < 2.05,
        "schedule": held["schedule"][1] == 0 and "last_epoch" in held["schedule"][0],
        "resume": resumed["schedule"] == 0 and min(resumed["model"], resumed["optimizer"]) > 1e-4,
        "strict": NAME in measured.refused[0] and "extra" in measured.refused[0],
        "lenient": measured.lenient == ([NAME], ["extra"], [NAME]) and "size mismatch" in measured.refused[1],
    }


def facts(measured: Dicts) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    texts = {kind: f"{measured.resumed[kind]:.2g}" for kind in ("model", "optimizer")}
    texts["guess"] = texts["times"] = f"{measured.held['optimizer'][2] / measured.parameter_bytes:.1f}"
    return texts | {"missing": NAME, "moved": f"{measured.moved[0]:.2g}"}


def show(measured: Dicts, say: Say) -> list[Part]:
    """Returns what the dicts hold, what resuming with some of them gives, and what is said about other keys."""
    columns = (say("of"), say("keys"), f">{say('tensors')}", f">{say('bytes')}")
    held = [(say(kind), keys, str(count), amount(size)) for kind, (keys, count, size) in measured.held.items()]
    resumed = [(say(f"with_{kind}"), f"{difference:.2g}") for kind, difference in measured.resumed.items()]
    return [
        Table(say("held"), columns, held),
        Table(say("resumed"), (say("restored"), f">{say('difference')}"), resumed),
        Note(f"strict=True: {measured.refused[0]}"),
        Note(f"strict=False: missing_keys={measured.lenient[0]}, unexpected_keys={measured.lenient[1]}"),
        Note(f"strict=False: {measured.refused[1]}"),
    ]
