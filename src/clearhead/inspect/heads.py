"""Attention of every layer and head: weights, entropy, what a head looks at, and what it is worth."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clearhead.drawing.heatmap import AttentionPicture, Panel
from clearhead.drawing.report import Note, Part, Table, View
from clearhead.errors import ModelError
from clearhead.inspect.call import check_eager, untouched
from clearhead.meter.watch import watching
from clearhead.nn.attention import Attention, AttentionCore, CrossAttention
from clearhead.nn.layer import Layer

Kind = Literal["self", "causal", "cross"]
HeadType = Literal["previous", "next", "diagonal", "first", "last", "broad", "mixed", "off", "one key"]
"""Where more than half of a head's attention is: one place before or after, the position itself (in cross-attention the
straight line from corner to corner, a key to either side of it included), the first key, the last. Broad: entropy above
``BROAD`` of an even spread. Off: the head gives zeros, as a pruned one does. One key: there is nothing to choose."""

MOST, BROAD = 0.5, 0.8
MOST_BYTES = 1 << 28
"""Of the weights that are kept of one forward."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of a text, to see what a head is worth."""

    logits: Float[Tensor, "positions vocab"]
    targets: Int[Tensor, " positions"]
    """What should be said at each."""


@dataclass(frozen=True)
class Worth:
    """What becomes of a prediction when the head's output is zero."""

    loss: float
    """How much the mean loss rises, in nats a piece; below 0 the head did harm."""
    divergence: float
    """Mean Kullback-Leibler divergence from the whole model's distribution, in nats a piece."""


@dataclass(frozen=True)
class Head:
    """One head of one layer."""

    head: int
    type: HeadType
    share: float
    """How much of the attention is where ``type`` says, mean over queries that have a choice; of broad and mixed the
    evenness: entropy as a share of that of an even spread."""
    entropy: float
    """Mean over the queries, in nats."""
    worth: Worth | None = None


@dataclass(frozen=True)
class AttentionMap:
    """The weights of one attention module for one text."""

    name: str
    """Of the module."""
    kind: Kind
    weights: Float[Tensor, "heads queries keys"]
    """Of each query, they sum to 1."""
    heads: list[Head]


@dataclass(frozen=True)
class Texts:
    """What queries and keys are called, by the kind of attention."""

    queries: Sequence[str]
    keys: Sequence[str]


@dataclass(frozen=True)
class AttentionView(View):
    """All attention of a model on one text."""

    maps: list[AttentionMap]
    texts: list[Texts]
    """Of each map."""
    loss: float | None = None
    """Of the whole model on the text, in nats a piece, where the worth of heads was measured."""
    alignment: list[tuple[str, str]] | None = None
    """Of a translation, each target piece and the source piece it attends to most."""
    note: str = ""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"attention: {len(self.maps)} modules, {sum(len(one.heads) for one in self.maps)} heads"

    def parts(self) -> list[Part]:
        """See ``View``."""
        found: list[Part] = [Note(self.note)] if self.note else []
        if self.alignment:
            aligned = "  ".join(f"{target}={source}" for target, source in self.alignment)
            found.append(Note(f"alignment: {aligned}"))
        found.append(self.picture())
        columns = ("module, head", "type", ">share", ">entropy", ">loss without", ">divergence")
        rows: list[tuple[str, ...]] = []
        for one in self.maps:
            rows.append((f"{one.name} ({one.kind})", *[""] * 5))
            rows += [_row(head) for head in one.heads]
        used = columns if self.loss is not None else columns[:4]
        title = "heads; entropy, loss and divergence in nats"
        if self.loss is not None:
            title += f"; loss of the whole model {self.loss:.3f}"
        found.append(Table(title, used, [row[: len(used)] for row in rows]))
        return found

    def picture(self) -> AttentionPicture:
        """Returns all heads; of each kind one is shown where there is room for no more: the one of most worth."""
        panels = [
            Panel(
                one.name, one.kind, texts.queries, texts.keys, one.weights, list(map(_caption, one.heads)), _best(one)
            )
            for one, texts in zip(self.maps, self.texts, strict=True)
        ]
        focus: dict[Kind, int] = {}
        for number, one in enumerate(self.maps):
            if one.kind not in focus or _value(one) > _value(self.maps[focus[one.kind]]):
                focus[one.kind] = number
        return AttentionPicture("attention by layer and head", panels, list(focus.values()))

    def as_dict(self) -> dict[str, Any]:
        """See ``View``; weights to five digits."""
        return {"note": self.note, "loss": self.loss, "alignment": self.alignment, **self.scene()}

    def scene(self) -> dict[str, Any]:
        """Returns maps with the names of rows and columns, for drawing."""
        return {
            "maps": [
                {
                    "name": one.name,
                    "kind": one.kind,
                    "queries": list(texts.queries),
                    "keys": list(texts.keys),
                    "heads": [
                        {
                            "head": head.head,
                            "type": head.type,
                            "share": round(head.share, 5),
                            "entropy": round(head.entropy, 5),
                            "loss": head.worth and round(head.worth.loss, 6),
                            "divergence": head.worth and round(head.worth.divergence, 6),
                            "weights": [[round(value, 5) for value in row] for row in weights],
                        }
                        for head, weights in zip(one.heads, one.weights.tolist(), strict=True)
                    ],
                }
                for one, texts in zip(self.maps, self.texts, strict=True)
            ]
        }


@dataclass(frozen=True)
class Site:
    """One attention function in a model."""

    name: str
    kind: Kind
    core: AttentionCore


def sites_of(model: nn.Module) -> list[Site]:
    """Returns every attention of a model, in the order of its modules.

    Raises:
        ModelError: there is none.
    """
    found = []
    causal = {id(layer.attn) for layer in model.modules() if isinstance(layer, Layer) and layer.causal}
    for name, module in model.named_modules():
        core = getattr(module, "core", None)
        if not isinstance(core, AttentionCore):
            continue
        kind: Kind = "self"
        if isinstance(module, CrossAttention) or not isinstance(module, Attention):  # a recurrent decoder's alignment
            kind = "cross"
        elif id(module) in causal:
            kind = "causal"
        found.append(Site(name, kind, core))
    if not found:
        raise ModelError(f"attention: a {type(model).__name__} has none")
    return found


def attention(
    model: nn.Module,
    read: Callable[[], object],
    *,
    names: Callable[[Kind, int, int], Texts] | None = None,
    predict: Callable[[], Prediction] | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> AttentionView:
    """Shows the attention of a model of ours on one text.

    Args:
        model: eager, on any device.
        read: calls the model once, on the first row of whose batch the view looks; padding is best left out.
        names: says what the queries and keys of a kind and of so many rows and columns are called; None numbers them.
        predict: calls the model to see what it says; then each head is switched off in turn.
        progress: called with how many heads are done, and of how many.

    Raises:
        ModelError: the model is compiled, has no attention, has NaN in it, or the text is so long that the weights
            would take more than ``MOST_BYTES``.
    """
    with untouched(model, training=False), torch.no_grad():
        maps = attention_maps(model, read)
        whole, worths = None, dict[tuple[str, int], Worth]()
        if predict is not None:
            whole = predict()
            worths = head_worths(model, whole, predict, progress)
    texts = [
        names(one.kind, *one.weights.shape[1:]) if names else Texts(*(_numbers(size) for size in one.weights.shape[1:]))
        for one in maps
    ]
    ranked = [
        AttentionMap(
            one.name,
            one.kind,
            one.weights,
            [
                Head(head.head, head.type, head.share, head.entropy, worths.get((one.name, head.head)))
                for head in one.heads
            ],
        )
        for one in maps
    ]
    return AttentionView(ranked, texts, None if whole is None else _loss(whole))


def attention_maps(model: nn.Module, read: Callable[[], object], *, most_bytes: int = MOST_BYTES) -> list[AttentionMap]:
    """Returns the weights of every attention for the first row of what ``read`` calls the model with.

    Raises:
        ModelError: see ``attention``; or the weights would take more than ``most_bytes``.
    """
    check_eager(model)
    sites = sites_of(model)
    watched: dict[str, nn.Module] = {site.name: site.core.tap for site in sites}
    watched |= {f"{site.name}.core": site.core for site in sites}
    with watching(watched, most_bytes=most_bytes, first_row=True) as seen:
        read()
    found = []
    for site in sites:
        calls = seen[site.name]
        if not calls:
            continue  # a part of the model that the text does not pass
        # a Transformer makes all rows in one call, a recurrent decoder one row a call
        weights, mixed = torch.cat(calls, dim=2)[0].float(), torch.cat(seen[f"{site.name}.core"], dim=2)[0]
        if not weights.isfinite().all():
            raise ModelError(f"attention of {site.name!r}: the weights are NaN; so are parameters: {_culprits(model)}")
        off = (mixed == 0).flatten(1).all(dim=1).tolist()  # heads queries head_dim -> heads
        heads = [_head(number, one, site.kind, off=off[number]) for number, one in enumerate(weights.cpu())]
        found.append(AttentionMap(site.name, site.kind, weights.cpu(), heads))
    return found


def head_worths(
    model: nn.Module,
    whole: Prediction,
    predict: Callable[[], Prediction],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[tuple[str, int], Worth]:
    """Switches off each head in turn (Michel et al. 2019, arXiv:1905.10650), by (module, head).

    Args:
        model: in evaluation mode.
        whole: what ``predict`` gives with all heads.
        predict: calls the model.
        progress: see ``attention``.
    """
    sites, expected = sites_of(model), whole.logits.float().log_softmax(dim=-1)
    heads = {site.name: heads_of(model, site) for site in sites}
    total, found = sum(heads.values()), dict[tuple[str, int], Worth]()
    for site in sites:
        for head in range(heads[site.name]):
            with without_head(site.core, head):
                less = predict()
            actual = less.logits.float().log_softmax(dim=-1)
            divergence = functional.kl_div(actual, expected, reduction="none", log_target=True).sum(-1).mean()
            found[site.name, head] = Worth(_loss(less) - _loss(whole), float(divergence))
            progress(len(found), total)
    return found


def heads_of(model: nn.Module, site: Site) -> int:
    """Returns how many heads of queries an attention has."""
    module = model.get_submodule(site.name)
    return module.n_heads if isinstance(module, Attention) else 1


@contextmanager
def without_head(core: AttentionCore, head: int) -> Iterator[None]:
    """Zeroes what one head mixes, within a block; nothing else of the model changes."""

    def zero(module: nn.Module, args: object, output: Tensor) -> Tensor:
        return output.index_fill(1, torch.tensor([head], device=output.device), 0.0)  # batch heads queries head_dim

    handle = core.register_forward_hook(zero)
    try:
        yield
    finally:
        handle.remove()


def _head(number: int, weights: Tensor, kind: Kind, *, off: bool) -> Head:
    """Says what a head looks at: [queries, keys]."""
    queries, keys = weights.shape
    entropy = torch.special.entr(weights.double()).sum(dim=-1)
    admitted = torch.full((queries,), keys)
    if kind == "causal":
        admitted = torch.arange(keys - queries + 1, keys + 1)
    choice = admitted > 1  # a query with one key says nothing
    mean = float(entropy.mean())
    if off:
        return Head(number, "off", 0.0, mean)
    if not choice.any():
        return Head(number, "one key", 1.0, mean)
    places: dict[HeadType, float] = {}
    for name, at in _places(queries, keys, kind).items():
        there = weights.gather(1, at.clamp(0, keys - 1)).masked_fill((at < 0) | (at >= keys), 0)  # queries some
        places[name] = float(there[choice].sum(dim=1).mean())
    name, share = max(places.items(), key=lambda one: one[1])
    even = float((entropy[choice] / admitted[choice].log()).mean())
    if share > MOST:
        return Head(number, name, share, mean)
    return Head(number, "broad" if even > BROAD else "mixed", even, mean)


def _places(queries: int, keys: int, kind: Kind) -> dict[HeadType, Tensor]:
    """The keys that a type is about, for each query: [queries, some]."""
    first = torch.zeros(queries, 1, dtype=torch.long)
    own = torch.arange(queries)[:, None] + (keys - queries)  # of queries that go on from a cache, the last
    if kind == "cross":
        line = (torch.arange(queries) * ((keys - 1) / max(queries - 1, 1))).round().long()[:, None]
        around = line + torch.arange(-1, 2)
        return {"diagonal": around, "first": first, "last": first + keys - 1}
    found: dict[HeadType, Tensor] = {"previous": own - 1, "diagonal": own, "first": first}
    return found if kind == "causal" else found | {"next": own + 1, "last": first + keys - 1}


def _row(head: Head) -> tuple[str, ...]:
    worth = ("", "") if head.worth is None else (f"{head.worth.loss:+z.3f}", f"{head.worth.divergence:.3f}")
    return (f"  {head.head}", head.type, f"{head.share:.0%}", f"{head.entropy:.2f}", *worth)


def _caption(head: Head) -> str:
    worth = "" if head.worth is None else f", loss {head.worth.loss:+z.3f} without it"
    share = "" if head.type in ("off", "one key") else f" {head.share:.0%}"
    return f"head {head.head}: {head.type}{share}, entropy {head.entropy:.2f}{worth}"


def _best(one: AttentionMap) -> int:
    return max(range(len(one.heads)), key=lambda number: _rating(one.heads[number]))


def _value(one: AttentionMap) -> float:
    return max(map(_rating, one.heads))


def _rating(head: Head) -> float:
    """By worth where it is known, else by how sure the head is of its place."""
    return head.worth.divergence if head.worth else head.share * (head.type != "broad")


def _loss(prediction: Prediction) -> float:
    return float(functional.cross_entropy(prediction.logits.float(), prediction.targets))


def _culprits(model: nn.Module) -> str:
    """Names the first parameters that are not finite."""
    wrong = [name for name, one in model.named_parameters() if not math.isfinite(float(one.detach().abs().max()))]
    return ", ".join(wrong[:3]) or "none"


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
