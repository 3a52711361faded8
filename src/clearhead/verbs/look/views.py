"""The views of ``clearhead inspect``: which function makes each of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate as accumulated
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.checkpoint import load_weights
from clearhead.drawing.report import View
from clearhead.drawing.together import Together
from clearhead.errors import ClearheadError, DataError, UsageError
from clearhead.inspect.attend.beside import parts
from clearhead.inspect.call import call
from clearhead.inspect.curves import activations, schedule
from clearhead.inspect.dispatch import ops
from clearhead.inspect.flow import gradients
from clearhead.inspect.graph import autograd
from clearhead.inspect.ledger import memory
from clearhead.inspect.modules import model
from clearhead.inspect.norms import norm
from clearhead.inspect.ranks import rank
from clearhead.inspect.saved import checkpoint
from clearhead.inspect.slots import optimizer
from clearhead.inspect.step.accumulation import accumulate
from clearhead.inspect.step.order import hooks
from clearhead.inspect.strides import layout
from clearhead.manifest import checkpoints_of
from clearhead.optim.build import build_ema
from clearhead.tasks.expanded import run_directory
from clearhead.tasks.sample import Sample, Shape
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.length.budget import scheduled
from clearhead.training.writers import read_metrics
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import attention_of, embedding_of, jacobian_of, query_of, reading_of
from clearhead.verbs.look.writing import beam_of, steps_of


def model_of(opened: Opened) -> View:
    """See ``inspect.modules.model``."""
    return model(opened.model, opened.inputs, tokens=opened.tokens)


def memory_of(opened: Opened) -> View:
    """See ``inspect.ledger.memory``: a step as in training, with the optimizer and the average of the recipe."""
    state, decay = opened.learner(with_state=False), opened.recipe.optim.ema_decay
    ema = build_ema(state.model, decay) if decay else None
    return memory(state.model, opened.batch, loss=opened.loss, optimizers=state.optimizers.parts, ema=ema)


def autograd_of(opened: Opened) -> View:
    """See ``inspect.graph.autograd``."""
    return autograd(opened.learner(with_state=False).model, opened.batch, loss=opened.loss)


def layout_of(opened: Opened) -> View:
    """See ``inspect.strides.layout``."""
    return layout(opened.model, opened.inputs)


def ops_of(opened: Opened) -> View:
    """See ``inspect.dispatch.ops``."""
    return ops(opened.model, opened.inputs)


def gradients_of(opened: Opened) -> View:
    """See ``inspect.flow.gradients``: at the last rate that trained, with the optimizer's state."""
    state, recipe = opened.learner(with_state=True), opened.recipe
    peak = state.optimizers.set_lr_factor(1.0)
    rate, step = trained_rate(opened, peak, state.step)
    state.optimizers.set_lr_factor(rate / peak)
    return gradients(
        state.model,
        [opened.batch],
        loss=opened.loss,
        optimizer=lambda model: state.optimizers,
        clip=recipe.optim.grad_clip_norm,
        note=f"at a learning rate of {rate:.3g}, that of step {step:,}",
        progress=opened.progress,
    )


def trained_rate(opened: Opened, peak: float, step: int) -> tuple[float, int]:
    """Returns the last learning rate above 0 up to ``step``, and its step; at the end of most schedules it is 0.

    It is read from the metrics of the run; for a bare checkpoint it follows from the schedule, whose first group of
    parameters has the rate ``peak`` at most.
    """
    train, optim, metrics = opened.settings, opened.recipe.optim, opened.run.path / "metrics.jsonl"
    for record in reversed(read_metrics(metrics) if metrics.is_file() else []):
        if record.get("event") == "stepped" and record["step"] <= step and record["lr"] > 0:
            return float(record["lr"]), int(record["step"])
    steps = range(min(max(step, 1), train.max_steps), 0, -1)
    rates = ((peak * scheduled(number, train, optim, opened.sizing), number) for number in steps)
    return next((found for found in rates if found[0] > 0), (peak, step))


def optimizer_of(opened: Opened) -> View:
    """See ``inspect.slots.optimizer``."""
    state, recipe, train = opened.learner(with_state=True), opened.recipe, opened.settings
    state.optimizers.set_lr_factor(scheduled(max(state.step, 1), train, recipe.optim, opened.sizing))
    return optimizer(
        state.optimizers.parts,
        state.model,
        ema_decay=recipe.optim.ema_decay,
        step=state.step,
        max_steps=train.max_steps,
        rate=lambda step: train.lr * scheduled(step, train, recipe.optim, opened.sizing),
    )


def checkpoint_of(opened: Opened) -> View:
    """See ``inspect.saved.checkpoint``."""
    saved = opened.model.state_dict().keys()
    return checkpoint(
        opened.run.path, missing=tuple(name for name, _ in opened.model.named_buffers() if name not in saved)
    )


def activations_of(opened: Opened) -> View:
    """See ``inspect.curves.activations``."""
    return activations(opened.model, opened.inputs)


def schedule_of(opened: Opened) -> View:
    """See ``inspect.curves.schedule``."""
    optim, train = opened.recipe.optim, opened.settings
    return schedule(
        optim.schedule,
        lr=train.lr,
        warmup_steps=train.warmup_steps,
        max_steps=train.max_steps,
        min_factor=optim.min_lr_factor,
        cycle_steps=optim.cycle_steps,
        decay_fraction=optim.decay_fraction,
    )


def rank_of(opened: Opened) -> View:
    """See ``inspect.ranks.rank``."""
    inputs = opened.inputs  # of a text the model itself writes some, which the view should not see
    return rank(opened.model, lambda: call(opened.model, inputs))


def norm_of(opened: Opened) -> View:
    """See ``inspect.norms.norm``; gamma and beta are those of every checkpoint that the run still has."""
    inputs = opened.inputs  # see ``rank_of``
    return norm(opened.model, lambda: call(opened.model, inputs), checkpoints=_weights(opened))


def _weights(opened: Opened) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    for path in checkpoints_of(opened.run.path):
        tensors, state = load_weights(path)
        yield state["step"], tensors


def parts_of(opened: Opened) -> View:
    """See ``inspect.attend.beside.parts``: of the run and of those beside it, on the same text."""
    others = [
        Opened.open(path, opened.text, shape=opened.sample.shape, checkpoint="best", device=str(opened.device))
        for path in opened.choice.beside
    ]
    every = {its.run.path.resolve(): its for its in (opened, *others)}
    names = names_of(list(every))
    return parts({name: (its.model, _read(its)) for name, its in zip(names, every.values(), strict=True)})


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns of each path as many of its last parts as tell it from the others, one at least."""
    for count in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(map(str, paths))


def _read(opened: Opened) -> Callable[[], object]:
    """Returns what calls the model: on the text as the view ``attention`` does, else on random pieces."""
    if opened.text is not None:
        return reading_of(opened, "parts").read
    inputs = opened.inputs
    return lambda: call(opened.model, inputs)


def hooks_of(opened: Opened) -> View:
    """See ``inspect.step.order.hooks``: a step as in training."""
    model = opened.learner(with_state=False).model
    return hooks(model, opened.batch, loss=opened.loss, module=opened.choice.module)


@dataclass(frozen=True)
class _OneRow(Sample):
    """A row of a batch of random pieces."""

    at: int = 0

    def rows(self, tokenizer: Tokenizer, room: int, *, pair: bool = False, draw: int = 0) -> list[list[int]]:
        """See ``Sample``."""
        return super().rows(tokenizer, room, pair=pair, draw=draw)[self.at : self.at + 1]


def accumulate_of(opened: Opened) -> View:
    """See ``inspect.step.accumulation.accumulate``: random pieces in batches of 1 row, of 2, and of all others."""
    shape = opened.sample.shape
    if opened.text is not None:
        raise UsageError("view 'accumulate': takes rows of random pieces, which --batch sizes; leave the TEXT out")
    if shape.rows < 3:
        size = f"{shape.rows}x{shape.length}"
        raise UsageError(f"--batch {size!r}: view 'accumulate' needs 3 rows, to divide them unequally")
    state, sizes = opened.learner(with_state=True), opened.sizes
    peak = state.optimizers.set_lr_factor(1.0)
    with torch.inference_mode(False):  # since autograd refuses what was made inside of it
        samples = [_OneRow(None, shape, at) for at in range(shape.rows)]
        rows = [opened.family.batch_of(opened.trained, sample).to(opened.device) for sample in samples]

    def loss(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        return opened.family.loss(model, batch, opened.recipe, sizes)

    return accumulate(
        state.model,
        [_joined(part) for part in (rows[:1], rows[1:3], rows[3:]) if part],
        _joined(rows),
        loss=loss,
        optimizer=lambda model: state.optimizers,
        note=f"at the run's highest learning rate, {peak:.3g}",
    )


def _joined(rows: list[Any]) -> Any:
    """Returns batches of any family as one; they have rows of the same length."""
    values = {field.name: [getattr(row, field.name) for row in rows] for field in fields(rows[0])}
    if values.get("positions", [None])[0] is not None:  # of masked pieces, which count through the ids of all rows
        before = [0, *accumulated(ids.numel() for ids in values["ids"])]
        values["positions"] = [at + offset for at, offset in zip(values["positions"], before, strict=False)]
    joined: dict[str, Any] = {}
    for name, parts_of_rows in values.items():
        if isinstance(parts_of_rows[0], Tensor):
            joined[name] = torch.cat(parts_of_rows)
        elif isinstance(parts_of_rows[0], int):
            joined[name] = sum(parts_of_rows)
    return replace(rows[0], **joined)


def view_of(what: str, folder: Path, text: str | None = None, **options: Any) -> View:
    """Makes a view of a run; ``checkpoint`` takes a bare checkpoint or an exported folder too.

    Args:
        what: a word of ``VIEWS``.
        folder: the run.
        text: what its model reads.
        options: see ``Opened.open``.

    Raises:
        DataError: see ``Opened.open``.
        ModelError: see there, and ``inspect.saved.checkpoint``.
    """
    if text is not None and not text.strip():
        if what in OF_TEXT:
            raise DataError(f"view {what!r}: the text is empty; give one, since it shows what the model makes of it")
        raise DataError(f"view {what!r}: the text is empty; leave it out to look at random pieces")
    folder = run_directory(folder)
    if what == "checkpoint" and not (folder / "recipe.toml").is_file():
        return checkpoint(folder)
    if what in SHAPES and not options.get("shape"):
        options["shape"] = SHAPES[what]
    return VIEWS[what](Opened.open(folder, text, **options))


def all_of(opened: Opened) -> View:
    """Shows what a page of a run has, as far as its family and the text allow."""
    views, missing = dict[str, View](), dict[str, str]()
    for name in PAGE:
        try:
            views[name] = VIEWS[name](opened)
        except ClearheadError as error:
            missing[name] = str(error)
    return Together(f"{opened.run.path.name}: {opened.text or 'random pieces'}", views, missing)


OF_TEXT = ("attention", "steps", "beam", "embedding", "query", "jacobian")
PAGE = ("attention", "steps", "beam", "rank", "norm", "memory")
SHAPES = {"accumulate": Shape(8, 32)}
"""Sizes of the batch of random pieces, where a view needs others."""
VIEWS: dict[str, Callable[[Opened], View]] = {
    "model": model_of,
    "memory": memory_of,
    "autograd": autograd_of,
    "layout": layout_of,
    "ops": ops_of,
    "gradients": gradients_of,
    "optimizer": optimizer_of,
    "checkpoint": checkpoint_of,
    "activations": activations_of,
    "schedule": schedule_of,
    "attention": attention_of,
    "steps": steps_of,
    "beam": beam_of,
    "embedding": embedding_of,
    "query": query_of,
    "jacobian": jacobian_of,
    "rank": rank_of,
    "norm": norm_of,
    "parts": parts_of,
    "hooks": hooks_of,
    "accumulate": accumulate_of,
    "all": all_of,
}
"""By the word of the command line; ``cli/inspect.py`` has a line of help for each."""
