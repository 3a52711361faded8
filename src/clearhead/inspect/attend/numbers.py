"""One query of one head in numbers: query, keys, values, scores, scale, mask, weights, and the sum that they give."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.drawing.grid import Heatmap, number
from clearhead.drawing.report import Note, Part, Table, View
from clearhead.errors import ModelError, UsageError
from clearhead.inspect.call import untouched
from clearhead.inspect.heads import Kind, Site, Texts, sites_of
from clearhead.messages import Prose
from clearhead.nn.attention import Additive, Attention, AttentionCore

Which = Literal["encoder", "decoder", "cross"]
KIND_OF: dict[Which, Kind] = {"encoder": "self", "decoder": "causal", "cross": "cross"}
"""An encoder's attention looks everywhere, a decoder's at what is before, and its cross-attention at the encoder."""


@dataclass(frozen=True)
class Pick:
    """Which query of which head; numbers count from 0, those below 0 from the end."""

    attention: Which | None = None
    """None: cross, where the model has it."""
    layer: int | None = None
    """Of the encoder or of the decoder; None: the last."""
    head: int | None = None
    """None: the first."""
    query: int | None = None
    """Position; None: the last."""


@dataclass(frozen=True)
class Worked(Brief):
    """One query against the keys of its head, by arithmetic in double precision."""

    products: Float[Tensor, " keys"]
    """Of the query with each key: q · k, or v · tanh(q + k) of additive attention."""
    scores: Float[Tensor, " keys"]
    """Products times the scale, plus the mask."""
    weights: Float[Tensor, " keys"]
    """The softmax of the scores."""
    mixed: Float[Tensor, " head_dim"]
    """The sum of the values with these weights."""


def worked_out(
    q: Float[Tensor, " head_dim"],
    keys: Float[Tensor, "keys head_dim"],
    values: Float[Tensor, "keys head_dim"],
    *,
    added: Float[Tensor, " keys"] | None = None,
    vector: Float[Tensor, " head_dim"] | None = None,
) -> Worked:
    """Computes attention of one query of one head from its definition (Vaswani et al. 2017, equation 1).

    Args:
        q: the query.
        keys: of the same head.
        values: likewise.
        added: to the scores: -inf where the mask is, a bias, 0; None: nothing.
        vector: that of additive attention (Bahdanau et al. 2015); None: dot products, divided by the root of head_dim.
    """
    q, keys, values = q.double(), keys.double(), values.double()
    if vector is None:
        products = (q * keys).sum(dim=-1)
        scores = products / math.sqrt(len(q))
    else:
        products = scores = (vector.double() * torch.tanh(q + keys)).sum(dim=-1)
    scores = scores if added is None else scores + added.double()
    powers = (scores - scores.max()).exp()
    weights = powers / powers.sum()
    return Worked(products, scores, weights, (weights[:, None] * values).sum(dim=0))


@dataclass(frozen=True)
class QueryView(View):
    """One query of one head."""

    name: str
    """Of the attention's module."""
    kind: Kind
    head: int
    kv_head: int
    """Head of keys and values, which several heads of queries may share."""
    query: int
    asks: str
    """Label of the query."""
    keys: list[str]
    q: list[float]
    k: list[list[float]]
    v: list[list[float]]
    products: list[float]
    scale: float | None
    """Factor of the products; None for additive attention, which has none."""
    mask: list[float]
    """Added to the scores: -inf where the query may not attend, ALiBi's bias, else 0."""
    scores: list[float]
    weights: list[float]
    mixed: list[float]
    """The sum of the values with the weights."""
    gave: list[float]
    """What the module computed in its place, by its fused kernel where it has one."""
    apart: float
    """Largest difference of the two."""
    weights_apart: float
    """Largest difference from the weights that the module computes when it is watched."""
    output_apart: float | None
    """The same of the attention's output at this query, when all heads are worked out; None: it has no projection."""
    normalized: bool
    """Whether queries and keys were divided by their root mean square before they met."""
    turned: bool
    """Whether they were turned by their positions, too."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"query {self.query} {self.asks!r} of head {self.head} in {self.name}"

    def parts(self) -> list[Part]:
        """See ``View``."""
        features = [str(at) for at in range(len(self.q))]
        parts: list[Part] = [Note(self.title)]
        if self.normalized:
            parts.append(Note("queries and keys were divided by their root mean square"))
        if self.turned:
            parts.append(Note("queries and keys were turned by their positions"))
        if self.kv_head != self.head:
            parts.append(Note(f"its keys and values are those of head {self.kv_head}, which other heads share"))
        asked = Heatmap("q and k: the query, and the keys below it", ["q", *self.keys], features, [self.q, *self.k])
        parts += [asked, Heatmap("v: the values", self.keys, features, self.v), self._scores()]
        summed = [self.mixed, self.gave]
        parts.append(Heatmap("sum of weight times value", [Prose("by hand"), Prose("module")], features, summed))
        parts.append(
            Note(f"by hand and by the module: the sums are {self.apart:.0e} apart, weights {self.weights_apart:.0e}")
        )
        if self.output_apart is not None:
            parts.append(
                Note(f"all heads by hand through o_proj: {self.output_apart:.0e} from what {self.name} returned")
            )
        return parts

    def _scores(self) -> Table:
        numbers = zip(self.keys, self.products, self.mask, self.scores, self.weights, self.v, strict=True)
        rows = [
            (key, number(product), _mask(mask), number(score), f"{weight:.4f}", f"{weight * v[0]:z.4f}")
            for key, product, mask, score, weight, v in numbers
        ]
        rows.append((Prose("sum"), "", "", "", f"{sum(self.weights):.4f}", f"{self.mixed[0]:z.4f}"))
        marked = frozenset([max(range(len(self.weights)), key=self.weights.__getitem__)])
        if self.scale is None:
            columns = ("key", ">v·tanh(q+k)", ">mask", ">score", ">weight", ">weight·v[0]")
            return Table("scores are the products plus the mask, weights their softmax", columns, rows, marked)
        title = f"scores are q·k times {self.scale:.4g} plus the mask, weights their softmax"
        return Table(title, ("key", ">q·k", ">mask", ">score", ">weight", ">weight·v[0]"), rows, marked)


@checked
def query(
    model: nn.Module,
    read: Callable[[], object],
    *,
    pick: Pick = Pick(),
    names: Callable[[Kind, int, int], Texts] | None = None,
) -> QueryView:
    """Works one query of one head out by hand, from the q, k, v and mask that the model gave its attention.

    Args:
        model: eager, on any device.
        read: calls the model once; the first row of its batch is looked at.
        pick: which query.
        names: (kind, number of queries, number of keys) -> their labels; None numbers them.

    Raises:
        UsageError: the model has no such attention, layer, head or query.
        ModelError: the model is compiled, or has no attention.
    """
    with untouched(model, training=False), torch.no_grad():
        site = picked_site(model, pick)
        met, tapped = _seen(model, site, read, tap=False), _seen(model, site, read, tap=True)
        head = _numbered("head", pick.head, met.q.shape[0], 0)
        at = _numbered("query", pick.query, met.q.shape[1], -1)
        works = [_worked(met, site.core, number, at) for number in range(met.q.shape[0])]
        worked, shared = works[head], head // (met.q.shape[0] // met.k.shape[0])
        module = model.get_submodule(site.name)
        output_apart = None
        if isinstance(module, Attention) and met.output is not None:
            joined = torch.cat([each.mixed for each in works]).to(module.o_proj.weight)
            output_apart = float((module.o_proj(joined).cpu() - met.output[at]).abs().max())
    texts = names(site.kind, met.q.shape[1], met.k.shape[1]) if names else None
    additive = isinstance(site.core, Additive)
    return QueryView(
        name=site.name,
        kind=site.kind,
        head=head,
        kv_head=shared,
        query=at,
        asks=texts.queries[at] if texts else str(at),
        keys=list(texts.keys) if texts else list(map(str, range(met.k.shape[1]))),
        q=met.q[head, at].tolist(),
        k=met.k[shared].tolist(),
        v=met.v[shared].tolist(),
        products=worked.products.tolist(),
        scale=None if additive else 1 / math.sqrt(met.q.shape[-1]),
        mask=met.added[head, at].tolist(),
        scores=worked.scores.tolist(),
        weights=worked.weights.tolist(),
        mixed=worked.mixed.tolist(),
        gave=met.mixed[head, at].tolist(),
        apart=float((worked.mixed - met.mixed[head, at].double()).abs().max()),
        weights_apart=float((worked.weights - tapped.weights[head, at].double()).abs().max()),
        output_apart=output_apart,
        normalized=isinstance(module, Attention) and module.qk_norm,
        turned=isinstance(module, Attention) and module.rotary is not None,
    )


def picked_site(model: nn.Module, pick: Pick) -> Site:
    """Returns the attention that is picked.

    Raises:
        UsageError: the model does not have it.
        ModelError: it has none at all.
    """
    sites = sites_of(model)
    known = [which for which in get_args(Which) if any(site.kind == KIND_OF[which] for site in sites)]
    which = pick.attention or known[-1]  # cross is the last of them
    if which not in known:
        raise UsageError(f"attention {which!r}: a {type(model).__name__} has {', '.join(known)}")
    kind = [site for site in sites if site.kind == KIND_OF[which]]
    return kind[_numbered("layer", pick.layer, len(kind), -1)]


def _numbered(what: str, wanted: int | None, count: int, default: int) -> int:
    """Returns a number from 0 for one that may count from the end."""
    at = default if wanted is None else wanted
    if not -count <= at < count:
        raise UsageError(f"{what} {at}: must be from 0 to {count - 1}, or from -1 to -{count} to count from the end")
    return at % count


@dataclass
class _Met(Brief):
    """What met in an attention, of the first row of the batch: [heads, queries or keys, ...]."""

    q: Tensor
    k: Tensor
    v: Tensor
    added: Tensor
    mixed: Tensor
    weights: Tensor
    output: Tensor | None


def _seen(model: nn.Module, site: Site, read: Callable[[], object], *, tap: bool) -> _Met:
    """Calls the model and collects what an attention was given and gave; a recurrent decoder asks in many calls."""
    calls: list[tuple[Tensor, ...]] = []
    weights: list[Tensor] = []
    outputs: list[Tensor] = []

    def see(core: nn.Module, args: tuple[Any, ...], given: dict[str, Any], mixed: Tensor) -> None:
        q, k, v = (part[0].detach() for part in args)
        met = (q, k, v, _added(q, k, given), mixed[0])
        calls.append(tuple(part.cpu() for part in met))  # where double precision is everywhere

    def keep(kept: list[Tensor], module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        kept.append(output[0].cpu())

    module = model.get_submodule(site.name)
    with ExitStack() as hooks:
        hooks.enter_context(site.core.register_forward_hook(see, with_kwargs=True))
        if isinstance(module, Attention):
            hooks.enter_context(module.register_forward_hook(partial(keep, outputs)))
        if tap:
            hooks.enter_context(site.core.tap.register_forward_hook(partial(keep, weights)))
        read()
    if not calls:
        raise ModelError(f"attention {site.name!r}: did not run")
    q, added, mixed = (torch.cat([call[part] for call in calls], dim=1) for part in (0, 3, 4))
    _, k, v, *_ = calls[0]
    seen_weights = torch.cat(weights, dim=1) if weights else mixed
    return _Met(q, k, v, added, mixed, seen_weights, outputs[0] if len(outputs) == 1 else None)


def _added(q: Tensor, k: Tensor, given: dict[str, Any]) -> Tensor:
    """Returns what mask and causal order add to the scores [heads, queries, keys]."""
    added = q.new_zeros(q.shape[0], q.shape[1], k.shape[1])
    mask = given.get("mask")
    if mask is not None:
        own = mask[0]
        added = added + (own if own.is_floating_point() else _blocked(own, q))
    if given.get("causal"):
        ahead = torch.ones_like(added[0], dtype=torch.bool).triu(1 + k.shape[1] - q.shape[1])
        added = added + _blocked(~ahead, q)
    return added


def _blocked(allowed: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(allowed, dtype=like.dtype).masked_fill(~allowed, -math.inf)


def _worked(met: _Met, core: AttentionCore, head: int, at: int) -> Worked:
    shared = head // (met.q.shape[0] // met.k.shape[0])
    vector = core.score[head].cpu() if isinstance(core, Additive) else None
    return worked_out(met.q[head, at], met.k[shared], met.v[shared], added=met.added[head, at], vector=vector)


def _mask(added: float) -> str:
    return "" if added == 0 else number(added)
