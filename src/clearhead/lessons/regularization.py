"""Regularization: a GPT learns a few sentences by heart, and what each usual remedy does about it.

Dropout (Srivastava et al., 2014), decoupled weight decay (Loshchilov and Hutter, 2019), label smoothing (Szegedy et
al., 2016), BPE-dropout (Provilkov et al., 2020), stochastic depth (Huang et al., 2016), early stopping: each by itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.data.demo_corpus import demo_pairs
from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.loss import cross_entropy
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.progress import Progress, silent
from clearhead.text.bpe_dropout import BpeDropout
from clearhead.text.pipeline import Learned, learn

LIMITS = {"lines": (16, 64), "steps": (10, 200)}
SHORT = {"steps": 25}
EVERY = 5  # steps between two looks at the losses
PAD, END, UNK, SPECIALS = 0, 1, 2, ("<pad>", "<end>", "<unk>")
STRENGTHS = {"plain": 0.0, "dropout": 0.5, "decay": 10.0, "smoothing": 0.2, "bpe_dropout": 0.3, "depth": 0.7}
"""Each remedy with how strongly it is applied, for so small a corpus."""


@dataclass(frozen=True)
class Course:
    """Losses of one training in nats a piece, looked at in evaluation, without any remedy."""

    training: list[float]
    held_out: list[float]


@dataclass(frozen=True)
class Regularization:
    """What was measured."""

    steps: list[int]
    courses: dict[str, Course]


def run(*, lines: int = 32, steps: int = 60, seed: int = 0, progress: Progress = silent) -> Regularization:
    """Trains on ``lines`` sentences of the demo, with each remedy by itself."""
    texts = list(dict.fromkeys(english for _, english in demo_pairs(4 * lines, seed)))
    seen, held_out = texts[:lines], texts[lines : 2 * lines]
    learned, courses = learn(seen, "bpe", specials=SPECIALS, vocab_size=200, min_frequency=1), {}
    for done, kind in enumerate(STRENGTHS):
        progress(done, len(STRENGTHS))
        courses[kind] = course(kind, (seen, held_out), learned, steps, seed)
    return Regularization(list(range(EVERY, steps + 1, EVERY)), courses)


def course(kind: str, texts: tuple[list[str], list[str]], learned: Learned, steps: int, seed: int) -> Course:
    """Trains with one remedy."""
    of = {name: strength if name == kind else 0.0 for name, strength in STRENGTHS.items()}
    torch.manual_seed(seed)
    ids = {piece: number for number, piece in enumerate(learned.pieces, len(SPECIALS))}
    plain, drawn = (BpeDropout(ids, learned.merges, p=share, unk=UNK) for share in (0.0, of["bpe_dropout"]))
    share = 0.4 * of["dropout"]
    block = BlockConfig(attn_dropout=share, mlp_dropout=share, stochastic_depth=of["depth"], activation="gelu_tanh")
    sizes = GPTConfig(d_model=32, d_ff=64, n_heads=2, n_layers=1, max_seq_len=512, dropout=of["dropout"], block=block)
    gpt = GPT(sizes, vocab_size=len(SPECIALS) + len(ids), pad_id=PAD)
    optimizers = build_optimizers(gpt, OptimConfig(weight_decay=of["decay"]), lr=0.01)
    batches, losses = [encoded(plain, part) for part in texts], Course([], [])
    for step in range(1, steps + 1):
        batch = encoded(drawn, texts[0], seed=step) if of["bpe_dropout"] else batches[0]
        loss = loss_of(gpt.train(), batch, smoothing=of["smoothing"])
        optimizers.zero_grad()
        loss.backward()
        optimizers.step()
        if step % EVERY == 0:
            with torch.no_grad():
                training, new = (float(loss_of(gpt.eval(), each)) for each in batches)
            losses.training.append(training)
            losses.held_out.append(new)
    return losses


def encoded(pieces: BpeDropout, texts: list[str], *, seed: int = 0) -> Tensor:
    """Returns texts as rows of ids between two marks of an end, padded on the right."""
    words = [[f"▁{word}" for word in text.split()] for text in texts]
    rows = [torch.tensor([END, *pieces.encode(its, 1000 * seed + number), END]) for number, its in enumerate(words)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def loss_of(gpt: GPT, ids: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Returns the mean loss of the pieces that are not padding."""
    targets = ids[:, 1:]
    total, count = cross_entropy(gpt(ids[:, :-1])[targets != PAD], targets[targets != PAD], label_smoothing=smoothing)
    return total / count


def check(measured: Regularization) -> Claims:
    """Returns whether each sentence of the answer holds."""
    courses, plain = measured.courses, measured.courses["plain"]
    last = {kind: (of.training[-1], of.held_out[-1]) for kind, of in courses.items()}
    best = {kind: min(of.held_out) for kind, of in courses.items()}
    slow = [courses[kind] for kind in ("dropout", "depth")]
    return {
        "overfit": plain.training[-1] < 0.5 * plain.training[0] and plain.held_out[-1] > min(plain.held_out) + 0.3,
        "stop": plain.held_out.index(min(plain.held_out)) < len(plain.held_out) / 2,
        "decay": last["decay"][1] < last["plain"][1] - 0.2 and last["decay"][0] > 1.5 * last["plain"][0],
        "smoothing": last["smoothing"][1] < last["plain"][1] - 0.1 and last["smoothing"][0] > last["plain"][0],
        "bpe_dropout": best["bpe_dropout"] == min(best.values()) < best["plain"] - 0.1,
        "slow": all(of.training[-1] > 1.2 * plain.training[-1] for of in slow),
        "late": all(of.held_out[-1] > min(of.held_out) + 0.1 for of in slow),
    }


def facts(measured: Regularization) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    plain, bpe = measured.courses["plain"], measured.courses["bpe_dropout"]
    best = min(plain.held_out)
    step = str(measured.steps[plain.held_out.index(best)])
    numbers = {"training": plain.training[-1], "last": plain.held_out[-1], "best": best, "bpe": min(bpe.held_out)}
    numbers |= {kind: measured.courses[kind].held_out[-1] for kind in ("decay", "smoothing")}
    return {"guess": step, "step": step, **{name: f"{number:.2f}" for name, number in numbers.items()}}


def show(measured: Regularization, say: Say) -> list[Part]:
    """Returns the losses with each remedy, and their curves on held-out sentences."""
    rows = []
    for kind, of in measured.courses.items():
        strength, best = f"{STRENGTHS[kind]:g}" if STRENGTHS[kind] else "", min(of.held_out)
        numbers = (of.training[-1], of.held_out[-1], best)
        at = str(measured.steps[of.held_out.index(best)])
        rows.append((say(kind), strength, *(f"{number:.2f}" for number in numbers), at))
    columns = (say("remedy"), *(f">{say(name)}" for name in ("strength", "training", "last", "best", "at")))
    curves = {say(kind): of.held_out for kind, of in measured.courses.items()}
    return [
        Table(say("table"), columns, rows),
        Curves(say("curve"), say("step"), list(map(float, measured.steps)), curves),
    ]
