"""How norms differ between training and inference: batch norm alone keeps statistics of what it has seen.

Each norm of clearhead gets one batch in both modes. Then a batch norm (Ioffe and Szegedy, 2015) sees some batches in
training mode, and the view ``norm`` says after each how far its running statistics have come. Last it gets a sentence
without neighbours, and a single piece.
"""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Curves, Part, Table
from clearhead.inspect.norms import NormInfo, Spread, norm
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.norm import BatchNorm, NormName, build_norm

LIMITS = {"rows": (4, 256), "forwards": (1, 1000), "momentum": (0.01, 1.0)}
PIECES, D_MODEL = 12, 32
MEAN, DEVIATION = 3.0, 2.0  # of what the norms get; running statistics begin at 0 and 1


@dataclass(frozen=True)
class Modes:
    """One new norm, in training and in evaluation."""

    training: Spread
    evaluation: Spread
    apart: float
    """Root mean square of the difference of the two outputs, as a share of the output in evaluation."""
    neighbours: list[float]
    """How far a sentence's output moves, so measured, if the others of its batch are 5 times larger: in both modes."""
    padding: float
    """How far real pieces move, so measured, when other numbers stand at padding."""
    alone: list[Spread]
    """The output for a single piece, in both modes."""
    buffers: list[str]


@dataclass(frozen=True)
class NormTrainInfer:
    """What was measured."""

    norms: dict[str, Modes]
    momentum: float
    seen: list[NormInfo]
    """What the view says of a batch norm before the first forward and after each."""
    share: float
    """Of the way from 0 to the mean that the running mean has gone in the end."""
    one_sentence: float
    """Between the outputs of batch and instance norm, in training, for a batch of one sentence."""
    refusal: str
    """What torch.nn.BatchNorm1d says to a single piece in training."""


@torch.no_grad()
def run(*, rows: int = 8, forwards: int = 10, momentum: float = 0.1, seed: int = 0) -> NormTrainInfer:
    """Puts one batch through every norm, and ``forwards`` batches through a batch norm in training mode."""
    torch.manual_seed(seed)
    centre = MEAN + 0.2 * torch.randn(D_MODEL)
    x = centre + DEVIATION * torch.randn(rows, PIECES, D_MODEL)
    mask = torch.arange(PIECES) < PIECES - torch.arange(rows)[:, None] % (PIECES // 2)  # rows of 12, 11, ... 7 pieces
    norms = {name: modes(name, x, mask) for name in get_args(NormName)}

    batch_norm = BatchNorm(D_MODEL, eps=1e-5, momentum=momentum)
    seen = [norm(batch_norm, lambda: batch_norm(x, mask)).norms[0]]
    for _ in range(forwards):
        batch_norm.train()(centre + DEVIATION * torch.randn_like(x), mask)
        batch_norm.eval()(x, mask)  # which should move nothing
        seen.append(norm(batch_norm, lambda: batch_norm(x, mask)).norms[0])
    share = float(batch_norm.running_mean @ centre / (centre @ centre))
    single = apart(build_norm("batch", D_MODEL)(x[:1]), build_norm("instance", D_MODEL)(x[:1]))
    refusal = ""
    try:
        nn.BatchNorm1d(D_MODEL)(x[0, :1])
    except ValueError as error:
        refusal = str(error)
    return NormTrainInfer(norms, momentum, seen, share, single, refusal)


def apart(left: Tensor, right: Tensor) -> float:
    """Returns the root mean square of the difference, as a share of that of ``right``."""
    return float((left - right).square().mean().sqrt() / right.square().mean().sqrt().clamp(min=1e-12))


def modes(name: NormName, x: Tensor, mask: Tensor) -> Modes:
    """Measures a norm in training and in evaluation; each forward gets a new one, which nothing has moved before."""

    def output(x: Tensor, training: bool) -> Any:
        return build_norm(name, D_MODEL).train(training)(x, mask[: len(x), : x.shape[1]])

    others, dirty = torch.cat([x[:1], 5 * x[1:]]), x.masked_fill(~mask[..., None], 1e3)
    trained, evaluated = output(x, True)[mask], output(x, False)[mask]
    return Modes(
        *(Spread.of(trained), Spread.of(evaluated), apart(trained, evaluated)),
        neighbours=[apart(output(others, mode)[0], output(x, mode)[0]) for mode in (True, False)],
        padding=max(apart(output(dirty, True)[mask], trained), apart(output(dirty, False)[mask], evaluated)),
        alone=[Spread.of(output(x[:1, :1], mode)) for mode in (True, False)],
        buffers=[buffer for buffer, _ in build_norm(name, D_MODEL).named_buffers()],
    )


def check(measured: NormTrainInfer) -> Claims:
    """Returns whether each sentence of the answer holds."""
    batch, first, last = measured.norms["batch"], measured.seen[0].difference, measured.seen[-1].difference
    expected = 1 - (1 - measured.momentum) ** (len(measured.seen) - 1)
    others = [modes for name, modes in measured.norms.items() if name != "batch"]
    still = [batch.neighbours[1], *(shift for modes in others for shift in modes.neighbours)]
    return {
        "same": all(modes.apart < 1e-6 and not modes.buffers for modes in others),
        "batch": batch.buffers == ["running_mean", "running_var"] and first > 0.5 and last < 0.75 * first,
        "neighbours": batch.neighbours[0] > 0.1 and max(still) < 1e-6,
        "running": abs(measured.share - expected) < 0.05,
        "alone": batch.alone[0].std < 1e-6 < batch.alone[1].std and "more than 1 value" in measured.refusal,
        "sentence": measured.one_sentence < 1e-4,
        "padding": all(modes.padding < 1e-4 for modes in measured.norms.values()),
    }


def facts(measured: NormTrainInfer) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    return {
        "guess": f"{measured.share:.0%}",
        "first": f"{measured.seen[0].difference:.0%}",
        "last": f"{measured.seen[-1].difference:.0%}",
        "moved": f"{measured.norms['batch'].neighbours[0]:.0%}",
        "forwards": str(len(measured.seen) - 1),
        "momentum": f"{measured.momentum:g}",
        "share": f"{measured.share:.0%}",
        "refusal": measured.refusal,
    }


def show(measured: NormTrainInfer, say: Say) -> list[Part]:
    """Returns a table of one batch in both modes, the statistics over the forwards, and a table of a single piece."""
    columns = (say("norm"), *(f">{say(name)}" for name in ("training", "evaluation", "apart", "moved")))
    rows, singles = [], []
    for name, modes in measured.norms.items():
        shares = (f"{modes.apart:.0%}", f"{modes.neighbours[0]:.0%}")
        rows.append((name, str(modes.training), str(modes.evaluation), *shares))
        singles.append((name, str(modes.alone[0]), str(modes.alone[1])))
    means = [info.running.mean.mean for info in measured.seen if info.running]
    lines = {say("mean"): means, say("gap"): [info.difference for info in measured.seen]}
    return [
        Table(say("both"), columns, rows, frozenset([list(measured.norms).index("batch")])),
        Curves(say("running"), say("forward"), list(map(float, range(len(means)))), lines),
        Table(say("alone"), (say("norm"), f">{say('training')}", f">{say('evaluation')}"), singles),
    ]
