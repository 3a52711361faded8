"""Attention of every layer and head: weights, entropy, the keys it goes to, and the loss without the head."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.drawing.heatmap import AttentionPicture, Panel
from clearhead.drawing.report import Note, Part, Table, View
from clearhead.errors import ModelError
from clearhead.inspect.call import check_eager, no_progress, untouched
from clearhead.messages import Prose
from clearhead.meter.watch import watching
from clearhead.nn.attention import Attention, AttentionCore, CrossAttention
from clearhead.nn.layer import Layer

Kind = Literal["self", "causal", "cross"]
HeadType = Literal["previous", "next", "diagonal", "first", "last", "broad", "mixed", "off", "one key"]
"""Where more than half of a head's attention goes: to the previous or next position, the position itself (in
cross-attention the straight line from corner to corner, with one key on either side), the first key, the last. Broad:
entropy above ``BROAD`` of an even spread. Off: the head outputs zeros, as if pruned. One key: there is no choice."""

MOST, BROAD = 0.5, 0.8
MOST_BYTES = 1 << 28
"""Limit on the attention weights of one forward."""


@dataclass(frozen=True)
class Prediction(Brief):
    """Predictions of a model on a text, to compare with those without a head."""

    logits: Float[Tensor, "positions vocab"]
    targets: Int[Tensor, " positions"]
    """The right piece at each position."""


@dataclass(frozen=True)
class Worth:
    """How predictions change when the head's output is set to zero."""

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
    """Share of the attention that goes where ``type`` says, averaged over queries with more than one key; for broad and
    mixed heads the entropy as a share of that of an even spread."""
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
    """They sum to 1 for each query."""
    heads: list[Head]


@dataclass(frozen=True)
class Texts(Brief):
    """Labels of the queries and keys of an attention map."""

    queries: Sequence[str]
    keys: Sequence[str]


@dataclass(frozen=True)
class AttentionView(View):
    """All attention of a model on one text."""

    maps: list[AttentionMap]
    texts: list[Texts]
    """Of each map."""
    loss: float | None = None
    """Of the whole model on the text, in nats a piece; None if the worth of heads was not measured."""
    alignment: list[tuple[str, str]] | None = None
    """Of a translation: each target piece with the source piece that it attends to most."""
    note: str = ""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"attention: {len(self.maps)} modules, {sum(len(attn_map.heads) for attn_map in self.maps)} heads"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = []
        if self.note:
            parts.append(Note(self.note))
        if self.alignment:
            aligned = "  ".join(f"{target}={source}" for target, source in self.alignment)
            parts.append(Note(f"alignment: {aligned}"))
        parts.append(self.picture())
        columns = ("module, head", "type", ">share", ">entropy", ">loss without", ">divergence")
        rows: list[tuple[str, ...]] = []
        for attn_map in self.maps:
            rows.append((attn_map.name, Prose(attn_map.kind), *[""] * 4))
            rows += [_row(head) for head in attn_map.heads]
        if self.loss is None:
            return [*parts, Table("heads; entropy in nats", columns[:4], [row[:4] for row in rows], folded=True)]
        title = f"heads; entropy, loss and divergence in nats; loss of the whole model {self.loss:.3f}"
        return [*parts, Table(title, columns, rows, folded=True)]

    def picture(self) -> AttentionPicture:
        """Returns all heads; where there is room for one map of each kind only, it is the one with the best head."""
        panels = [
            Panel(
                attn_map.name,
                attn_map.kind,
                texts.queries,
                texts.keys,
                attn_map.weights,
                list(map(_caption, attn_map.heads)),
                _best(attn_map),
                list(map(_facts, attn_map.heads)),
            )
            for attn_map, texts in zip(self.maps, self.texts, strict=True)
        ]
        focus: dict[Kind, int] = {}
        for number, attn_map in enumerate(self.maps):
            if attn_map.kind not in focus or _value(attn_map) > _value(self.maps[focus[attn_map.kind]]):
                focus[attn_map.kind] = number
        return AttentionPicture("attention by layer and head", panels, list(focus.values()))

    def as_dict(self) -> dict[str, Any]:
        """See ``View``; weights to five digits."""
        return {"note": self.note, "loss": self.loss, "alignment": self.alignment, **self.scene()}

    def scene(self) -> dict[str, Any]:
        """Returns the maps with labels of rows and columns, for drawing."""
        return {
            "maps": [
                {
                    "name": attn_map.name,
                    "kind": attn_map.kind,
                    "queries": list(texts.queries),
                    "keys": list(texts.keys),
                    "heads": [
                        {
                            "head": head.head,
                            **_facts(head),
                            "weights": [[round(value, 5) for value in row] for row in weights],
                        }
                        for head, weights in zip(attn_map.heads, attn_map.weights.tolist(), strict=True)
                    ],
                }
                for attn_map, texts in zip(self.maps, self.texts, strict=True)
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
        ModelError: the model has no attention.
    """
    sites = []
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
        sites.append(Site(name, kind, core))
    if not sites:
        raise ModelError(f"attention: a {type(model).__name__} has none")
    return sites


@checked
def attention(
    model: nn.Module,
    read: Callable[[], object],
    *,
    names: Callable[[Kind, int, int], Texts] | None = None,
    predict: Callable[[], Prediction] | None = None,
    progress: Callable[[int, int], object] = no_progress,
) -> AttentionView:
    """Shows the attention of a model of ours on one text.

    Args:
        model: eager, on any device.
        read: calls the model once; the view shows the first row of its batch, which should have no padding.
        names: (kind, number of queries, number of keys) -> their labels; None numbers them.
        predict: calls the model for its predictions; if given, each head is switched off in turn.
        progress: called with (heads done, heads in all).

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
    texts = [(names or _numbered)(attn_map.kind, *attn_map.weights.shape[1:]) for attn_map in maps]
    ranked = [
        replace(
            attn_map,
            heads=[replace(head, worth=worths.get((attn_map.name, head.head))) for head in attn_map.heads],
        )
        for attn_map in maps
    ]
    return AttentionView(ranked, texts, None if whole is None else _loss(whole))


def attention_maps(model: nn.Module, read: Callable[[], object], *, most_bytes: int = MOST_BYTES) -> list[AttentionMap]:
    """Returns the weights of every attention for the first row of the batch that ``read`` calls the model with.

    Raises:
        ModelError: see ``attention``; the weights may take ``most_bytes``.
    """
    check_eager(model)
    sites = sites_of(model)
    watched: dict[str, nn.Module] = {site.name: site.core.tap for site in sites}
    watched |= {f"{site.name}.core": site.core for site in sites}
    with watching(watched, most_bytes=most_bytes, first_row=True) as seen:
        read()
    maps = []
    for site in sites:
        calls = seen[site.name]
        if not calls:
            continue  # this part of the model did not run
        # a Transformer computes all rows in one call, a recurrent decoder one row a call
        weights, mixed = torch.cat(calls, dim=2)[0].float(), torch.cat(seen[f"{site.name}.core"], dim=2)[0]
        if not weights.isfinite().all():
            raise ModelError(f"attention of {site.name!r}: the weights are NaN; so are parameters: {_culprits(model)}")
        off = (mixed == 0).flatten(1).all(dim=1).tolist()  # heads queries head_dim -> heads
        heads = [
            _head(number, head_weights, site.kind, off=off[number]) for number, head_weights in enumerate(weights.cpu())
        ]
        maps.append(AttentionMap(site.name, site.kind, weights.cpu(), heads))
    return maps


def head_worths(
    model: nn.Module,
    whole: Prediction,
    predict: Callable[[], Prediction],
    progress: Callable[[int, int], object] = no_progress,
) -> dict[tuple[str, int], Worth]:
    """Switches off each head in turn (Michel et al. 2019, arXiv:1905.10650), by (module, head).

    Args:
        model: in evaluation mode.
        whole: the prediction with all heads.
        predict: calls the model.
        progress: see ``attention``.
    """
    sites, expected = sites_of(model), whole.logits.float().log_softmax(dim=-1)
    heads = {site.name: heads_of(model, site) for site in sites}
    total, worths = sum(heads.values()), dict[tuple[str, int], Worth]()
    for site in sites:
        for head in range(heads[site.name]):
            with without_head(site.core, head):
                less = predict()
            actual = less.logits.float().log_softmax(dim=-1)
            divergence = functional.kl_div(actual, expected, reduction="none", log_target=True).sum(-1).mean()
            worths[site.name, head] = Worth(_loss(less) - _loss(whole), float(divergence))
            progress(len(worths), total)
    return worths


def heads_of(model: nn.Module, site: Site) -> int:
    """Returns how many heads of queries an attention has."""
    module = model.get_submodule(site.name)
    return module.n_heads if isinstance(module, Attention) else 1


@contextmanager
def without_head(core: AttentionCore, head: int) -> Iterator[None]:
    """Sets the output of one head to zero within a block; nothing else of the model changes."""

    def zero(module: nn.Module, args: object, output: Tensor) -> Tensor:
        return output.index_fill(1, torch.tensor([head], device=output.device), 0.0)  # batch heads queries head_dim

    with core.register_forward_hook(zero):
        yield


def _head(number: int, weights: Tensor, kind: Kind, *, off: bool) -> Head:
    """Classifies a head by its weights, [queries, keys]."""
    queries, keys = weights.shape
    entropy = torch.special.entr(weights.double()).sum(dim=-1)
    admitted = torch.full((queries,), keys)
    if kind == "causal":
        admitted = torch.arange(keys - queries + 1, keys + 1)
    choice = admitted > 1  # a query with one key has none
    mean = float(entropy.mean())
    if off:
        return Head(number, "off", 0.0, mean)
    if not choice.any():
        return Head(number, "one key", 1.0, mean)
    places: dict[HeadType, float] = {}
    for name, at in _places(queries, keys, kind).items():
        there = weights.gather(1, at.clamp(0, keys - 1)).masked_fill((at < 0) | (at >= keys), 0)  # queries some
        places[name] = float(there[choice].sum(dim=1).mean())
    name, share = max(places.items(), key=lambda item: item[1])
    even = float((entropy[choice] / admitted[choice].log()).mean())
    if share > MOST:
        return Head(number, name, share, mean)
    return Head(number, "broad" if even > BROAD else "mixed", even, mean)


def _places(queries: int, keys: int, kind: Kind) -> dict[HeadType, Tensor]:
    """Returns for each type of head the keys of each query that it goes to, [queries, some]."""
    first = torch.zeros(queries, 1, dtype=torch.long)
    own = torch.arange(queries)[:, None] + (keys - queries)  # after a cache the queries are the last keys
    if kind == "cross":
        line = (torch.arange(queries) * ((keys - 1) / max(queries - 1, 1))).round().long()[:, None]
        around = line + torch.arange(-1, 2)
        return {"diagonal": around, "first": first, "last": first + keys - 1}
    places: dict[HeadType, Tensor] = {"previous": own - 1, "diagonal": own, "first": first}
    return places if kind == "causal" else places | {"next": own + 1, "last": first + keys - 1}


def _row(head: Head) -> tuple[str, ...]:
    worth = ("", "") if head.worth is None else (f"{head.worth.loss:+z.3f}", f"{head.worth.divergence:.3f}")
    return (f"  {head.head}", Prose(head.type), f"{head.share:.0%}", f"{head.entropy:.2f}", *worth)


def _facts(head: Head) -> dict[str, Any]:
    facts = {"type": Prose(head.type), "share": round(head.share, 5), "entropy": round(head.entropy, 5)}
    worth = {name: head.worth and round(getattr(head.worth, name), 6) for name in ("loss", "divergence")}
    return facts | worth


def _caption(head: Head) -> str:
    share = "" if head.type in ("off", "one key") else f" {head.share:.0%}"
    worth = "" if head.worth is None else f"; loss {head.worth.loss:+z.3f} without it"
    return f"head {head.head}: {head.type}{share}; entropy {head.entropy:.2f}{worth}"


def _best(attn_map: AttentionMap) -> int:
    return max(range(len(attn_map.heads)), key=lambda number: _rating(attn_map.heads[number]))


def _value(attn_map: AttentionMap) -> float:
    return max(map(_rating, attn_map.heads))


def _rating(head: Head) -> float:
    """Returns how interesting a head is: by its worth if that is known, else by its share."""
    return head.worth.divergence if head.worth else head.share * (head.type != "broad")


def _loss(prediction: Prediction) -> float:
    return float(functional.cross_entropy(prediction.logits.float(), prediction.targets))


def _culprits(model: nn.Module) -> str:
    """Names the first parameters that are not finite."""
    wrong = [
        name for name, parameter in model.named_parameters() if not math.isfinite(float(parameter.detach().abs().max()))
    ]
    return ", ".join(wrong[:3]) or "none"


def _numbered(kind: Kind, queries: int, keys: int) -> Texts:
    """The labels where there are no texts."""
    return Texts([str(number) for number in range(queries)], [str(number) for number in range(keys)])
