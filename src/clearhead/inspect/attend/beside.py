"""Norms, heads, shared keys and values, and the cache of models side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clearhead.arguments import fitting
from clearhead.drawing.report import Bars, Curves, Note, Part, Table, View, amount
from clearhead.errors import UsageError
from clearhead.inspect.call import untouched
from clearhead.inspect.heads import AttentionMap, Kind, attention_maps
from clearhead.inspect.norms import Spread, norm
from clearhead.messages import Prose
from clearhead.nn.attention import Attention, AttentionCore
from clearhead.nn.layer import Layer
from clearhead.nn.norm import NoNorm, Norm


@dataclass(frozen=True)
class Heads:
    """All attentions of one kind of a model."""

    kind: Kind
    layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    entropies: list[float]
    """Mean of the heads of each layer, in nats."""
    least: float
    most: float
    """Entropy of the sharpest and of the broadest head."""

    @property
    def sharing(self) -> str:
        """The name of how keys and values are shared."""
        if self.n_kv_heads == self.n_heads:
            return Prose("multi-head")
        return Prose("multi-query") if self.n_kv_heads == 1 else Prose("grouped-query")


@dataclass(frozen=True)
class Built:
    """What a model is made of, and what its attention does on one batch."""

    model: str
    """Its class."""
    parameters: int
    norm: str
    """Class of its norms; empty: it has none."""
    norms: int
    place: str
    """pre, before each sublayer; post, after its residual sum; empty where there are no layers of ours."""
    gamma: tuple[float, float] | None
    """Mean and standard deviation over all norms."""
    beta: tuple[float, float] | None
    difference: float | None
    """Largest ``difference`` between training and inference, see ``NormInfo``."""
    heads: list[Heads]
    cache: int
    """Bytes of keys and values that a decoder keeps of a position that it has written; 0: it has no cache."""
    source: int
    """Bytes that it keeps of a position of the source."""


@dataclass(frozen=True)
class PartsView(View):
    """What some models are made of, side by side."""

    runs: dict[str, Built]

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"norms, heads and cache of {', '.join(self.runs)}"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = [self._norms(), self._heads()]
        cached = {name: built for name, built in self.runs.items() if built.cache}
        if cached:
            sizes = {name: built.cache for name, built in cached.items()}
            texts = tuple(map(amount, sizes.values()))
            parts.append(
                Bars("keys and values kept of a position written", {n: float(s) for n, s in sizes.items()}, texts)
            )
        parts += [
            Note(f"{name!r} keeps {amount(built.source)} of each position of the source too")
            for name, built in cached.items()
            if built.source
        ]
        parts += [
            Note(f"{name!r} keeps no keys and values: it has no cache") for name in self.runs if name not in cached
        ]
        return parts + self._entropies()

    def _norms(self) -> Table:
        rows = [
            (
                name,
                built.norm or Prose("none"),
                built.place,
                str(built.norms),
                _spread(built.gamma),
                _spread(built.beta),
                "" if built.difference is None else f"{built.difference:.1%}",
            )
            for name, built in self.runs.items()
        ]
        columns = ("run", "norm", "place", ">norms", ">gamma", ">beta", ">training apart")
        return Table("norms: mean ± deviation of what was learned", columns, rows)

    def _heads(self) -> Table:
        rows = [
            (
                name,
                _word(heads.kind),
                f"{heads.layers} x {heads.n_heads}",
                f"{heads.n_kv_heads}",
                heads.sharing,
                str(heads.head_dim),
                f"{heads.least:.2f} to {heads.most:.2f}",
            )
            for name, built in self.runs.items()
            for heads in built.heads
        ]
        rows += [(name, Prose("none"), "", "", "", "", "") for name, built in self.runs.items() if not built.heads]
        columns = ("run", "attention", ">layers, heads", ">of keys", "sharing", ">head_dim", ">entropy, nats")
        return Table("heads, and what keys and values they share", columns, rows)

    def _entropies(self) -> list[Part]:
        lines = {
            Prose(f"{name}: {_word(heads.kind)}"): heads.entropies
            for name, built in self.runs.items()
            for heads in built.heads
            if len(heads.entropies) > 1
        }
        depths = {len(entropies) for entropies in lines.values()}
        return [
            Curves(
                "entropy of the heads, mean of each layer",
                "layer",
                list(map(float, range(depth))),
                {name: entropies for name, entropies in lines.items() if len(entropies) == depth},
            )
            for depth in sorted(depths)
        ]


def parts(models: Mapping[str, tuple[nn.Module, Callable[[], object]]]) -> PartsView:
    """Shows norms, heads, shared keys and values and the cache of models of ours, side by side.

    Args:
        models: by name, each with a function that calls it once, on a batch whose first row has no padding.

    Raises:
        UsageError: there is no model.
        ModelError: one is compiled, or has NaN in its attention.
    """
    fitting(models, Mapping, "models")
    if not models:
        raise UsageError("models: must be one or more")
    return PartsView({name: built(model, read) for name, (model, read) in models.items()})


def built(model: nn.Module, read: Callable[[], object]) -> Built:
    """Looks at one model; see ``parts``."""
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    norms = [module for module in model.modules() if isinstance(module, Norm)]
    cached = [layer for layer in layers if layer.causal]
    place = "" if not layers else "post" if isinstance(layers[0].attn_norm, NoNorm) else "pre"
    return Built(
        model=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        norm=", ".join(sorted({type(module).__name__ for module in norms})),
        norms=len(norms),
        place=place,
        gamma=_learned([module.weight for module in norms]),
        beta=_learned([module.bias for module in norms if module.bias is not None]),
        difference=max(info.difference for info in norm(model, read).norms) if norms else None,
        heads=_heads(model, read) if any(isinstance(module, AttentionCore) for module in model.modules()) else [],
        cache=sum(_kept(layer.attn) for layer in cached),
        source=sum(_kept(layer.cross_attn) for layer in cached if layer.crossed),
    )


def _kept(attn: Attention) -> int:
    """Returns the bytes of keys and values that an attention keeps of one position."""
    return 2 * attn.n_kv_heads * attn.head_dim * attn.k_proj.weight.element_size()


def _heads(model: nn.Module, read: Callable[[], object]) -> list[Heads]:
    """Returns the attentions of each kind that ran, in the order of the modules."""
    with untouched(model, training=False), torch.no_grad():
        maps = attention_maps(model, read)
    kinds: dict[Kind, list[AttentionMap]] = {}
    for attn_map in maps:
        kinds.setdefault(attn_map.kind, []).append(attn_map)
    return [_of_kind(model, kind, its) for kind, its in kinds.items()]


def _of_kind(model: nn.Module, kind: Kind, maps: list[AttentionMap]) -> Heads:
    module = model.get_submodule(maps[0].name)
    n_heads = len(maps[0].heads)
    shape = (module.n_kv_heads, module.head_dim) if isinstance(module, Attention) else (n_heads, _width(module))
    every = [head.entropy for attn_map in maps for head in attn_map.heads]
    means = [sum(head.entropy for head in attn_map.heads) / n_heads for attn_map in maps]
    return Heads(kind, len(maps), n_heads, *shape, means, min(every), max(every))


def _width(module: nn.Module) -> int:
    """Returns the features of the single head of an attention that is none of ours: a recurrent decoder's alignment."""
    return next(module.parameters()).shape[0]


def _learned(tensors: Sequence[Tensor]) -> tuple[float, float] | None:
    if not tensors:
        return None
    spread = Spread.of(torch.cat([tensor.flatten() for tensor in tensors]))
    return spread.mean, spread.std


def _word(kind: Kind) -> Prose:
    return {"self": Prose("encoder"), "causal": Prose("decoder"), "cross": Prose("cross")}[kind]


def _spread(values: tuple[float, float] | None) -> str:
    return "" if values is None else f"{values[0]:z.2f} ± {values[1]:.2f}"
