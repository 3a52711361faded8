"""What goes into a stack: row of the embedding table, position and segment of each piece, taken apart and summed."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.drawing.grid import Heatmap
from clearhead.drawing.report import Note, Part, Table, View
from clearhead.errors import ModelError
from clearhead.inspect.call import untouched
from clearhead.messages import Prose
from clearhead.nn.embedding import Embedding, SegmentedEmbedding
from clearhead.nn.position import Alibi, Rotary

Rows = list[list[float]]
FIRST = 6  # features that a table shows of each vector
PAIRS = 8  # pairs of features whose turns are shown
BEFORE = (1, 4, 16)  # distances at which ALiBi is shown


@dataclass(frozen=True)
class Embedded(Brief):
    """One call of an embedding, for the first row of its batch."""

    name: str
    """Of the module; one that two stacks share is called once for each, under each of its names."""
    ids: list[int]
    scale: float
    """Factor of the table's rows, already in ``parts``."""
    parts: dict[str, Float[Tensor, "seq d_model"]]
    """``row``, and as far as the module has them ``position`` and ``segment``."""
    summed: Float[Tensor, "seq d_model"]
    """The sum of the parts."""
    output: Float[Tensor, "seq d_model"]
    """What the module gave: the sum, or its norm."""
    normed: bool
    apart: float
    """Largest difference between what the module gave and the sum, normalized if the module does so."""


@torch.no_grad()
def embedded(model: nn.Module, read: Callable[[], object]) -> list[Embedded]:
    """Takes apart what the embeddings of a model give for what ``read`` calls it with, call by call.

    Args:
        model: eager, in evaluation mode.
        read: calls the model; the first row of its batch is looked at.

    Raises:
        ModelError: no embedding of clearhead ran.
    """
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Embedding | SegmentedEmbedding):
            names.setdefault(id(module), []).append(name)
    calls: list[Embedded] = []
    turns: dict[int, int] = {}

    def see(module: Any, args: tuple[Any, ...], given: dict[str, Any], output: Tensor) -> None:
        turn = turns[id(module)] = turns.get(id(module), -1) + 1
        of = names[id(module)]
        calls.append(_taken_apart(of[turn % len(of)], module, args[0] if args else given["ids"], given, output[0]))

    modules = {id(module): module for module in model.modules() if id(module) in names}
    with ExitStack() as hooks:
        for module in modules.values():
            hooks.enter_context(module.register_forward_hook(see, with_kwargs=True))
        read()
    if not calls:
        raise ModelError(f"embedding: a {type(model).__name__} has none of clearhead's that ran")
    return calls


def _taken_apart(
    name: str, module: Embedding | SegmentedEmbedding, ids: Tensor, given: dict[str, Any], output: Tensor
) -> Embedded:
    """Computes the parts again from the tables of the module."""
    scale = module.scale if isinstance(module, Embedding) else 1.0
    parts = {"row": module.tokens.weight[ids[0]] * scale}
    if module.position is not None:
        start, places = given.get("start", 0), given.get("positions")
        at = torch.arange(start, start + ids.shape[1], device=ids.device)[None] if places is None else places
        parts["position"] = module.position(at)[0]
    if isinstance(module, SegmentedEmbedding):
        segments = given.get("segments")
        parts["segment"] = module.segments.weight[torch.zeros_like(ids[0]) if segments is None else segments[0]]
    summed = torch.stack(list(parts.values())).sum(dim=0)
    whole = module.norm(summed[None])[0] if isinstance(module, SegmentedEmbedding) else summed
    real = given.get("real")
    gap = (whole - output).abs().amax(dim=-1)
    apart = gap if real is None else gap[real[0]]
    normed = isinstance(module, SegmentedEmbedding)
    return Embedded(name, ids[0].tolist(), scale, parts, summed, output, normed, float(apart.max()))


@dataclass(frozen=True)
class Input:
    """The input of one stack, piece by piece, in plain numbers."""

    name: str
    pieces: list[str]
    ids: list[int]
    scale: float
    parts: dict[str, Rows]
    """By name, [pieces][features]."""
    summed: Rows
    normed: bool
    """Whether the stack gets a norm of the sum, as in BERT."""
    apart: float
    """See ``Embedded``."""


@dataclass(frozen=True)
class Turns:
    """How rotary positions turn pairs of features of queries and keys."""

    name: str
    angles: Rows
    """In radians, [positions][pairs], as far as they are known: less whole turns."""
    rates: list[float]
    """Radians that each pair turns from a position to the next."""
    gain: float
    """Factor of what is turned; 1 but for YaRN."""


@dataclass(frozen=True)
class Slopes:
    """What ALiBi adds to attention scores."""

    name: str
    slopes: list[float]
    """By head."""
    added: Rows
    """To the scores of the last query, [heads][keys]."""
    before: Rows
    """The same for the keys that are 1, 4 and 16 positions before it."""


@dataclass(frozen=True)
class EmbeddingView(View):
    """What goes into each stack of a model, and what positions do elsewhere."""

    inputs: list[Input]
    turns: list[Turns]
    slopes: list[Slopes]

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"embedding and position of {sum(len(one.pieces) for one in self.inputs)} pieces"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts = [part for one in self.inputs for part in _of_input(one)]
        if not any("position" in one.parts for one in self.inputs):
            parts.append(Note("nothing is added for the position"))
        parts += [
            part for turns in self.turns for part in _of_turns(turns, max((one.pieces for one in self.inputs), key=len))
        ]
        parts += [part for slopes in self.slopes for part in _of_slopes(slopes, self.inputs[-1].pieces)]
        return parts


@checked
def embedding(
    model: nn.Module, read: Callable[[], object], *, pieces: Sequence[Sequence[str]] | None = None
) -> EmbeddingView:
    """Shows what goes into a model of ours: rows of the table, positions, segments and their sums.

    Where positions act in attention, what is done there instead is measured: angles of rotary positions, slopes of
    ALiBi.

    Args:
        model: eager.
        read: calls the model once; the first row of its batch is shown, which should have no padding.
        pieces: labels of the pieces of each embedding, in the order in which they run; None: ids.

    Raises:
        ModelError: the model is compiled, or no embedding of clearhead ran.
    """
    with untouched(model, training=False), torch.no_grad():
        calls = embedded(model, read)
        longest = max(len(one.ids) for one in calls)
        turns: list[Turns] = []
        for name, module in model.named_modules():
            its = _turns(name, module, longest) if isinstance(module, Rotary) else None
            if its and all(its.angles != other.angles for other in turns):  # an encoder's and a decoder's are alike
                turns.append(its)
        slopes = [_slopes(name, module, longest) for name, module in model.named_modules() if isinstance(module, Alibi)]
    return EmbeddingView([_plain(one, at, pieces) for at, one in enumerate(calls)], turns, slopes)


def _plain(one: Embedded, at: int, pieces: Sequence[Sequence[str]] | None) -> Input:
    labels = list(pieces[min(at, len(pieces) - 1)]) if pieces else list(map(str, one.ids))
    parts = {name: part.tolist() for name, part in one.parts.items()}
    return Input(one.name, labels, one.ids, one.scale, parts, one.summed.tolist(), one.normed, one.apart)


def _turns(name: str, rotary: Rotary, length: int) -> Turns:
    """Lets the rotation turn vectors of ones and zeros, which shows cosines and sines as the model takes them."""
    half = rotary.cos.shape[-1] // 2
    x = rotary.cos.new_zeros(1, 1, max(length, 2), 2 * half)
    x[..., :half] = 1
    cos, sin = rotary(x)[0, 0].cpu().double().split(half, dim=-1)  # positions pairs
    angles = torch.atan2(sin, cos) % (2 * math.pi)
    return Turns(name, angles[:length].tolist(), angles[1].tolist(), float(cos[0, 0]))


def _slopes(name: str, alibi: Alibi, length: int) -> Slopes:
    added = alibi(1, max(length, max(BEFORE) + 1))[:, 0]  # heads keys
    before = torch.stack([added[:, -1 - distance] for distance in BEFORE], dim=-1)
    return Slopes(name, alibi.slopes.tolist(), added[:, -length:].tolist(), before.tolist())


def _of_input(one: Input) -> list[Part]:
    features, is_sum = list(map(str, range(len(one.summed[0])))), len(one.parts) > 1
    vectors = {**one.parts, "sum": one.summed} if is_sum else one.parts
    norms = [torch.tensor(rows).norm(dim=-1).tolist() for rows in vectors.values()]
    rows = [
        (piece, str(number), *(f"{sizes[at]:.2f}" for sizes in norms))
        for at, (piece, number) in enumerate(zip(one.pieces, one.ids, strict=True))
    ]
    columns = ("piece", ">id", *(f">{_label(name)}" for name in vectors))
    parts: list[Part] = [Table(f"{one.name}: lengths of the vectors", columns, rows)]
    if one.scale != 1:
        parts.append(Note(f"rows of the table times {one.scale:.4g}, the root of d_model"))
    numbers = [
        (piece, _label(name), *(f"{x:z.3f}" for x in part[at][:FIRST]))
        for at, piece in enumerate(one.pieces)
        for name, part in vectors.items()
    ]
    names = tuple(f">{feature}" for feature in features[:FIRST])
    parts.append(Table(f"{one.name}: the first features", ("piece", "vector", *names), numbers))
    parts.append(Heatmap(f"{one.name}: row of the table of each piece", one.pieces, features, one.parts["row"], True))
    if "position" in one.parts:
        added = one.parts["position"]
        parts.append(Heatmap(f"{one.name}: what is added for its position", one.pieces, features, added, True))
    if "segment" in one.parts:
        added = one.parts["segment"]
        parts.append(Heatmap(f"{one.name}: what is added for its segment", one.pieces, features, added, True))
    if is_sum:
        parts.append(Heatmap(f"{one.name}: the sum", one.pieces, features, one.summed, True))
    if one.normed:
        parts.append(Note(f"the stack gets the norm of the sum, up to {one.apart:.0e}"))
    else:
        parts.append(Note(f"the stack gets the sum, up to {one.apart:.0e}"))
    return parts


def _label(part: str) -> Prose:
    return {"row": Prose("row"), "position": Prose("position"), "segment": Prose("segment"), "sum": Prose("sum")}[part]


def _of_turns(turns: Turns, pieces: Sequence[str]) -> list[Part]:
    count = len(turns.rates)
    shown = sorted({round(at * (count - 1) / max(min(PAIRS, count) - 1, 1)) for at in range(min(PAIRS, count))})
    rows = [
        (
            f"{pair}, {pair + count}",
            f"{turns.rates[pair]:.5f}",
            _period(turns.rates[pair]),
            f"{turns.angles[-1][pair]:.3f}",
        )
        for pair in shown
    ]
    names = [pieces[at] if at < len(pieces) else str(at) for at in range(len(turns.angles))]
    cosines = [[math.cos(row[pair]) for pair in range(count)] for row in turns.angles]
    return [
        Table(
            f"{turns.name}: queries and keys turn by their position instead, in pairs of features",
            ("features", ">radians a position", ">positions a turn", ">angle of the last"),
            rows,
        ),
        Heatmap(
            f"{turns.name}: cosine of each pair's angle", names, list(map(str, range(count))), cosines, shaded=True
        ),
    ]


def _period(rate: float) -> str:
    return f"{2 * math.pi / rate:,.1f}" if rate else Prose("never")


def _of_slopes(slopes: Slopes, pieces: Sequence[str]) -> list[Part]:
    rows = [
        (str(head), f"{slope:.5f}", *(f"{added:.3f}" for added in before))
        for head, (slope, before) in enumerate(zip(slopes.slopes, slopes.before, strict=True))
    ]
    heads, keys = [Prose(f"head {head}") for head in range(len(slopes.slopes))], len(slopes.added[0])
    names = list(pieces) if len(pieces) == keys else list(map(str, range(keys)))
    return [
        Table(
            f"{slopes.name}: scores get less with the distance instead, by head",
            ("head", ">slope", ">1 before", ">4 before", ">16 before"),
            rows,
        ),
        Heatmap(f"{slopes.name}: added to the last query's scores", heads, names, slopes.added),
    ]
