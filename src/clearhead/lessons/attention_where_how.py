"""Where a Transformer attends, and how: one query worked out by hand, and the three attentions of one sentence.

An attention asks with queries, is answered by keys, and takes values away (Vaswani et al., 2017, sections 3.2.1 and
3.2.3). A trained translator reads a sentence; the scores, the softmax and the weighted sum of one query are computed
number by number and compared with what the module itself gives. Then follows all that the three kinds look at.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table
from clearhead.inspect.attend.numbers import Worked, worked_out
from clearhead.inspect.heads import attention_maps
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.watch import watching
from clearhead.models.transformer import Transformer
from clearhead.nn.attention import Attention
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import reading_of

TASKS = ("translation",)
LIMITS = {"head": (0, 63), "query": (0, 63)}
SENTENCE = "我吃了一个苹果。"
Rows = list[list[float]]  # [queries][keys]


@dataclass(frozen=True)
class Place:
    """One attention of the model, at the head that was asked for."""

    own: bool
    memory: bool
    """Whether keys and values are made of the states that queries are made of, or of what the encoder gave."""
    queries: list[str]
    keys: list[str]
    weights: Rows


@dataclass(frozen=True)
class WhereHow:
    """What was measured."""

    query: int
    """Number of the query that is worked out by hand, in the last cross-attention."""
    scores: list[float]
    weights: list[float]
    values: list[float]  # the first feature of each
    sums: list[float]
    """First feature of the weighted sum: by hand, and of the module."""
    off: float
    """Largest difference of the weights and the weighted sum from those of the module."""
    places: dict[str, Place]
    moved: float
    """Largest change of a weight of the encoder's attention when the pieces stand in another order."""


def run(*, trained: Path, head: int = 0, query: int = 1) -> WhereHow:
    """Reads a sentence; looks at the first attention of the encoder and at the last two of the decoder."""
    opened = Opened.open(trained, SENTENCE, checkpoint="best", device="cpu")
    model, reading = cast(Transformer, opened.model), reading_of(opened, "attention")
    head, last = min(head, model.config.n_heads - 1), model.config.n_decoder_layers - 1
    names = ["encoder.layers.0.attn", f"decoder.layers.{last}.attn", f"decoder.layers.{last}.cross_attn"]
    parts = [f"{name}{part}" for name in names for part in ("_norm", ".k_proj", ".v_proj", ".core")]
    with torch.no_grad():
        with watching({name: model.get_submodule(name) for name in ["encoder", *parts]}) as seen:
            maps = {attn_map.name: attn_map for attn_map in attention_maps(model, reading.read)}
        gave = {name: outputs[0] for name, outputs in seen.items()}
        places = dict[str, Place]()
        for name in names:
            attend, kind = cast(Attention, model.get_submodule(name)), maps[name].kind
            texts, rows = reading.names(kind, *maps[name].weights.shape[1:]), maps[name].weights[head].tolist()
            keys_values = torch.cat([gave[f"{name}.k_proj"], gave[f"{name}.v_proj"]], dim=-1)
            own, memory = (made_of(gave[source], attend, keys_values) for source in (f"{name}_norm", "encoder"))
            places[kind] = Place(own, memory, list(texts.queries), list(texts.keys), rows)
        reordered = attention_maps(model, lambda: model.encoder(opened.inputs["src_ids"].roll(1, dims=1)))
        states = gave[f"{names[2]}_norm"][0]  # what the queries of the cross-attention are made of
        query = min(query, len(states) - 1)
        by_hand, values = from_states(attend, states[query], gave["encoder"][0], head)
    module, its = gave[f"{names[2]}.core"][0, head, query], maps[names[2]].weights[head, query]
    off = max(float((by_hand.mixed - module).abs().max()), float((by_hand.weights - its).abs().max()))
    moved = float((maps[names[0]].weights - reordered[0].weights).abs().max())
    scores, weights, sums = by_hand.scores.tolist(), by_hand.weights.tolist(), [by_hand.mixed[0], module[0]]
    return WhereHow(query, scores, weights, values[:, 0].tolist(), list(map(float, sums)), off, places, moved)


def made_of(states: Tensor, attend: Attention, keys_values: Tensor) -> bool:
    """Returns whether the keys and values of an attention are projections of ``states``."""
    projected = torch.cat([attend.k_proj(states), attend.v_proj(states)], dim=-1)
    return projected.shape == keys_values.shape and torch.allclose(projected, keys_values, atol=1e-5)


def from_states(attend: Attention, state: Tensor, memory: Tensor, head: int) -> tuple[Worked, Tensor]:
    """Works one query out as the view ``query`` does, from a state and the memory; returns the values, too."""
    size, shared = attend.head_dim, head // (attend.n_heads // attend.n_kv_heads)
    keys, values = (of_head(proj, memory, shared, size) for proj in (attend.k_proj, attend.v_proj))
    return worked_out(of_head(attend.q_proj, state, head, size), keys, values), values


def of_head(proj: nn.Linear, states: Tensor, head: int, size: int) -> Tensor:
    """Projects states with the rows of a weight that belong to one head."""
    rows = slice(head * size, (head + 1) * size)
    return nn.functional.linear(states, proj.weight[rows], None if proj.bias is None else proj.bias[rows])


def check(measured: WhereHow) -> Claims:
    """Returns whether each sentence of the answer holds."""
    encoder, decoder, cross = (measured.places[kind] for kind in ("self", "causal", "cross"))
    ahead = [sum(sum(row[at + 1 :]) for at, row in enumerate(place.weights)) for place in (encoder, decoder)]
    behind = sum(sum(row[:at]) for at, row in enumerate(encoder.weights))
    return {
        "hand": measured.off < 1e-4,
        "sums": all(
            abs(sum(row) - 1) < 1e-5 and min(row) >= 0 for row in encoder.weights + decoder.weights + cross.weights
        ),
        "encoder": encoder.own and ahead[0] > 0.1 and behind > 0.1,
        "decoder": decoder.own and not decoder.memory and ahead[1] == 0,
        "cross": cross.memory and not cross.own and (cross.queries, cross.keys) == (decoder.keys, encoder.keys),
        "computed": measured.moved > 0.01,
    }


def facts(measured: WhereHow) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    cross, best = measured.places["cross"], max(measured.weights)
    asks, answers = cross.queries[measured.query], cross.keys[measured.weights.index(best)]
    sizes = {"queries": str(len(cross.queries)), "keys": str(len(cross.keys))}
    return {"guess": f"{best:.0%}", "best": f"{best:.0%}", "asks": asks, "answers": answers, **sizes}


def show(measured: WhereHow, say: Say) -> list[Part]:
    """Returns the query worked out, and what every query of the three attentions looks at."""
    cross, names = measured.places["cross"], ("score", "weight", "value", "product")
    numbers = zip(cross.keys, measured.scores, measured.weights, measured.values, strict=True)
    rows = [(key, f"{score:.3f}", f"{w:.4f}", f"{v:.4f}", f"{w * v:z.4f}") for key, score, w, v in numbers]
    rows += [(say(name), "", "", "", f"{its:.4f}") for name, its in zip(("sum", "module"), measured.sums, strict=True)]
    title = say("hand").format(asks=cross.queries[measured.query])
    parts: list[Part] = [Table(title, (say("key"), *(f">{say(name)}" for name in names)), rows)]
    for kind, place in measured.places.items():
        pairs = zip(place.queries, place.weights, strict=True)
        lines = [(query, *(f"{100 * weight:.0f}" if weight else "" for weight in row)) for query, row in pairs]
        parts.append(Table(say(kind), ("", *(f">{key}" for key in place.keys)), lines))
    return parts
