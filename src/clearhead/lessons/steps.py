"""How a translator gets from 我吃了一个苹果。 to I ate an apple., stage by stage, with numbers.

The text becomes ids, ids become vectors, a position is added to each, the encoder turns them into the memory, and the
decoder writes piece by piece: at each step it reads what there is so far and gives every piece of its vocabulary a
probability (Vaswani et al., 2017, figure 1). The steps are those of ``clearhead inspect RUN steps``, the vectors those
of ``embedding``.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch

from clearhead.drawing.report import Part, Table
from clearhead.inspect.attend.inputs import embedded
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.watch import watching
from clearhead.models.transformer import Transformer
from clearhead.tasks.translation.translator import Translator

TASKS = ("translation",)
LIMITS = {"top": (1, 4)}
SENTENCE = "我吃了一个苹果。"
FEATURES = 2  # that are shown of each vector


@dataclass(frozen=True)
class Piece:
    """One piece of the source, by the first features of its vectors."""

    piece: str
    number: int
    row: list[float]
    """Of the embedding table, times its scale."""
    position: list[float]
    summed: list[float]
    """What goes into the encoder."""
    memory: list[float]
    """What comes out of it."""


@dataclass(frozen=True)
class Written:
    """One step of the decoder."""

    read: list[int]
    """Ids that it has read, the begin mark first."""
    last: str
    """The newest of them."""
    best: list[str]
    """The most probable next pieces."""
    probabilities: list[float]
    chosen: str
    chosen_id: int
    end: float
    """Probability of the end mark."""


@dataclass(frozen=True)
class Steps:
    """What was measured."""

    back: str
    """The text of the source's ids."""
    source: list[Piece]
    added: float
    """Largest difference of what goes into the encoder from row plus position, over all features."""
    memory: list[int]
    """Shape of the encoder's output."""
    vocabulary: int
    steps: list[Written]
    off: float
    """How far the sum of a step's probabilities is from 1, at most."""
    apart: float
    """Largest difference of the shown probabilities when the decoder reads the whole translation at once."""
    translation: str


@torch.no_grad()
def run(*, trained: Path, top: int = 3) -> Steps:
    """Translates a sentence, looking at every stage."""
    translator = Translator.load(trained, device="cpu")
    model, tokenizers = cast(Transformer, translator.model), translator.tokenizers
    trace = translator.trace(SENTENCE, top=top)
    ids, read = torch.tensor([trace.source_ids]), torch.tensor([trace.steps[-1].input_ids])
    with watching({"memory": model.encoder}) as seen:
        at_once = model(ids, read)[0].softmax(-1)
    source, memory = embedded(model, lambda: model(ids, read))[0], seen["memory"][0]
    rows, summed = source.parts["row"], source.output
    places = source.parts.get("position", torch.zeros_like(rows))  # else positions act in attention
    vectors = zip(*(part[:, :FEATURES].tolist() for part in (rows, places, summed, memory[0])), strict=True)
    pieces = zip(trace.source_pieces, trace.source_ids, vectors, strict=True)
    steps, apart = [], 0.0
    for step, probabilities in zip(trace.steps, at_once, strict=True):
        numbers, shares = zip(*step.top, strict=True)
        apart = max(apart, float((probabilities[list(numbers)] - torch.tensor(shares)).abs().max()))
        last, best = trace.pieces[step.input_ids[-1]], [trace.pieces[number] for number in numbers]
        end = float(probabilities[tokenizers.tgt.ids.eos])
        named = Written(step.input_ids, last, best, list(shares), trace.pieces[step.chosen], step.chosen, end)
        steps.append(named)
    return Steps(
        back=tokenizers.src.decode(trace.source_ids),
        source=[Piece(piece, number, *its) for piece, number, its in pieces],
        added=source.apart,
        memory=list(memory.shape),
        vocabulary=at_once.shape[1],
        steps=steps,
        off=float((at_once.sum(-1) - 1).abs().max()),
        apart=apart,
        translation=trace.translation,
    )


def check(measured: Steps) -> Claims:
    """Returns whether each sentence of the answer holds."""
    steps, longest = measured.steps, max(measured.steps[0].end, measured.steps[-1].end)
    return {
        "ids": measured.back == SENTENCE and len(measured.source) > 1,
        "sum": measured.added < 1e-4,
        "memory": measured.memory[:2] == [1, len(measured.source)],
        "distribution": measured.off < 1e-4 and all(sum(step.probabilities) < 1.0001 for step in steps),
        "fed_back": all(after.read == [*step.read, step.chosen_id] for step, after in pairwise(steps)),
        "at_once": measured.apart < 1e-3,
        "end": steps[-1].end == longest > 0.3 > steps[0].end,
    }


def facts(measured: Steps) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    numbers = {"pieces": len(measured.source), "vocabulary": measured.vocabulary, "steps": len(measured.steps)}
    ends = {"first": f"{measured.steps[0].end:.1%}", "last": f"{measured.steps[-1].end:.0%}"}
    texts = {name: f"{number:,}" for name, number in numbers.items()}
    return {"guess": texts["steps"], **texts, **ends, "translation": measured.translation}


def show(measured: Steps, say: Say) -> list[Part]:
    """Returns a row for each piece of the source, and a row for each step."""
    rows = []
    for its in measured.source:
        vectors = (" ".join(f"{v:+.2f}" for v in vector) for vector in (its.row, its.position, its.summed, its.memory))
        rows.append((its.piece, str(its.number), *vectors))
    columns = (say("piece"), f">{say('id')}", *(f">{say(name)}" for name in ("row", "position", "summed", "memory")))
    steps = []
    for at, step in enumerate(measured.steps):
        best = "  ".join(f"{piece} {share:.0%}" for piece, share in zip(step.best, step.probabilities, strict=True))
        steps.append((str(at + 1), step.last, best, step.chosen, f"{step.end:.1%}"))
    names = (f">{say('step')}", say("reads"), say("best"), say("chosen"), f">{say('end')}")
    return [Table(say("source"), columns, rows), Table(say("decoder"), names, steps)]
