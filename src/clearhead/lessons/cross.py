"""Cross-attention: how a decoder looks at the source, and what stays the same over all steps of a translation.

A trained translator writes its translation of a sentence step by step. Modules that run are counted, the keys and
values of the source are compared from step to step, and the weights say which piece of the source each step reads
(Bahdanau et al., 2015, arXiv:1409.0473; Vaswani et al., 2017, section 3.2.3).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from clearhead.decode.decoding import CachedDecoding
from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.watch import watching
from clearhead.models.transformer import Transformer
from clearhead.tasks.translation.alignment import attention_to_source
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import reading_of

TASKS = ("translation",)
SENTENCE = "我吃了一个苹果。"


@dataclass(frozen=True)
class Cross:
    """What was measured."""

    targets: list[str]
    """What the decoder reads, the begin mark first."""
    sources: list[str]
    weights: list[list[float]]
    """[targets][sources], the mean over heads of the layer in which translators keep their alignment."""
    calls: dict[str, int]
    """How often each part ran for the whole translation."""
    kept: list[int]
    """Positions of the decoder's own cache after each step."""
    of_source: list[int]
    """Positions of the source's keys and values after each step."""
    same: bool
    """Whether these keys and values are the same to the bit, in the same memory, at every step."""
    asked: float
    """Smallest difference of the queries of two steps that follow each other."""
    moved: float
    """How far the logits move when the source is another one."""
    closed: float
    """The same with cross-attention switched off."""


@torch.no_grad()
def run(*, trained: Path, seed: int = 0) -> Cross:
    """Translates a sentence step by step, and puts another source before the decoder."""
    torch.manual_seed(seed)
    opened = Opened.open(trained, SENTENCE, checkpoint="best", device="cpu")
    model, reading = cast(Transformer, opened.model), reading_of(opened, "attention")
    src_ids, tgt_ids = opened.inputs["src_ids"], opened.inputs["tgt_ids"]
    weights = attention_to_source(model, src_ids, tgt_ids)
    texts = reading.names("cross", *weights.shape)
    cross = f"decoder.layers.{model.config.n_decoder_layers - 1}.cross_attn"
    names = {"encoder": "encoder", "keys": f"{cross}.k_proj", "values": f"{cross}.v_proj", "queries": f"{cross}.q_proj"}
    parts = {name: model.get_submodule(path) for name, path in names.items()}
    with watching(parts | {"steps": model.decoder}) as seen:
        decoding = CachedDecoding(model, src_ids, None, capacity=tgt_ids.shape[1])
        kept, of_source, same, first = list[int](), list[int](), True, copied(decoding)
        for piece in tgt_ids[0]:
            decoding.advance(piece[None])
            kept.append(decoding.cache.length)
            of_source.append(decoding.cache.cross[-1][0].shape[2])
            same = same and first == copied(decoding)
    queries = torch.cat(seen["queries"])
    other = src_ids[:, torch.randperm(src_ids.shape[1])].roll(1, dims=1)
    moved = apart(model(src_ids, tgt_ids), model(other, tgt_ids))
    for layer in model.decoder.layers:
        for parameter in layer.get_submodule("cross_attn.o_proj").parameters():
            parameter.zero_()  # so that cross-attention adds nothing; the model was loaded for this lesson alone
    closed = apart(model(src_ids, tgt_ids), model(other, tgt_ids))
    return Cross(
        targets=list(texts.queries),
        sources=list(texts.keys),
        weights=weights.tolist(),
        calls={name: len(outputs) for name, outputs in seen.items()},
        kept=kept,
        of_source=of_source,
        same=same,
        asked=min(map(apart, queries[1:], queries[:-1]), default=0.0),
        moved=moved,
        closed=closed,
    )


def copied(decoding: CachedDecoding) -> list[tuple[int, list[float]]]:
    """Returns where the source's keys and values of each layer lie, and a copy of them."""
    return [(part.data_ptr(), part.flatten().tolist()) for pair in decoding.cache.cross for part in pair]


def apart(left: Tensor, right: Tensor) -> float:
    """Returns the largest difference."""
    return float((left - right).abs().max())


def check(measured: Cross) -> Claims:
    """Returns whether each sentence of the answer holds."""
    calls, steps, pieces = measured.calls, len(measured.targets), len(measured.sources)
    return {
        "once": calls["encoder"] == calls["keys"] == calls["values"] == 1 < calls["queries"] == calls["steps"] == steps,
        "same": measured.same and measured.of_source == [pieces] * steps,
        "grows": measured.kept == list(range(1, steps + 1)),
        "asks": measured.asked > 1e-3 and len(set(looked_at(measured))) > 1,
        "all": min(measured.weights[0]) > 0,
        "door": measured.moved > 0.1 and measured.closed == 0,
    }


def looked_at(measured: Cross) -> list[int]:
    """Returns the number of the source piece to which each step gives most."""
    return [row.index(max(row)) for row in measured.weights]


def facts(measured: Cross) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    aligned, second = [measured.sources[at] for at in looked_at(measured)], min(1, len(measured.targets) - 1)
    read = {"first": measured.targets[0], "second": measured.targets[second]}
    read |= {"at_first": aligned[0], "at_second": aligned[second]}
    sizes = {"steps": str(measured.calls["steps"]), "pieces": str(measured.of_source[-1])}
    return {"guess": str(measured.calls["keys"]), **sizes, **read}


def show(measured: Cross, say: Say) -> list[Part]:
    """Returns what each step looks at, and how often each part ran."""
    rows = [
        (target, *(f"{100 * weight:.0f}" for weight in row), measured.sources[at])
        for target, row, at in zip(measured.targets, measured.weights, looked_at(measured), strict=True)
    ]
    columns = (say("reads"), *(f">{source}" for source in measured.sources), say("most"))
    calls = [(say(name), str(count)) for name, count in measured.calls.items()]
    sizes = zip(measured.kept, measured.of_source, strict=True)
    cache = [(str(step + 1), str(own), str(source)) for step, (own, source) in enumerate(sizes)]
    parts: list[Part] = [Table(say("alignment"), columns, rows)]
    parts.append(Table(say("calls"), (say("part"), f">{say('times')}"), calls))
    return [*parts, Table(say("cache"), tuple(f">{say(name)}" for name in ("step", "own", "source")), cache)]
