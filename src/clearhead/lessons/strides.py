"""Which ways of giving a tensor another shape copy its numbers: strides, and the memory behind them.

A tensor is memory and a rule: element [i, j] lies at ``offset + i * stride[0] + j * stride[1]``. Most changes of shape
change the rule alone and are views; a copy is made only where no strides describe the new shape.
``clearhead.inspect.layout`` counts the bytes here, first of each way by itself, then of the attention of clearhead.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table, sizes
from clearhead.inspect.strides import layout
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.attention import SelfAttention

LIMITS = {"batch": (1, 16), "seq": (2, 64), "heads": (1, 16), "head_dim": (1, 64)}
VIEWS = ("x.view(b, s, -1)", "x.transpose(1, 2)", "x.permute(2, 0, 1, 3)", "x[:, 1::2]", "x[:, :1].expand(b, s, h, d)")
IN_ORDER, TURNED = ("x.contiguous()", "x.reshape(b * s, -1)"), ("t.contiguous()", "t.reshape(b, h, -1)")
REFUSED = "t.view(b, h, -1)"  # t is x.transpose(1, 2)


@dataclass(frozen=True)
class Way:
    """What one way of giving another shape did; ``shape`` is empty if it was refused."""

    shape: list[int]
    stride: list[int]
    offset: int
    same_memory: bool
    bytes_copied: int
    as_the_rule_says: bool
    """Whether the last element lies where the strides say."""


@dataclass(frozen=True)
class Strides:
    """What was measured."""

    bytes: int
    """Of the tensor."""
    ways: dict[str, Way]
    written_through: bool
    """Whether a write into the permuted tensor is seen in the tensor itself."""
    attention: dict[str, dict[str, int]]
    """Bytes that each function copied in an attention that nobody watches, and in one whose weights a hook reads."""


class Changed(nn.Module):
    """A module that gives its input another shape, for ``layout`` to look at."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        """Changes the shape of ``x``."""
        return self.change(x)


def run(*, batch: int = 2, seq: int = 6, heads: int = 4, head_dim: int = 8, seed: int = 0) -> Strides:
    """Changes the shape of a tensor [batch, seq, heads, head_dim] in ten ways, and looks into attention."""
    torch.manual_seed(seed)
    x = torch.randn(batch, seq, heads, head_dim)
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        VIEWS[0]: lambda x: x.view(batch, seq, -1),
        VIEWS[1]: lambda x: x.transpose(1, 2),
        VIEWS[2]: lambda x: x.permute(2, 0, 1, 3),
        VIEWS[3]: lambda x: x[:, 1::2],
        VIEWS[4]: lambda x: x[:, :1].expand(batch, seq, heads, head_dim),
        IN_ORDER[0]: lambda x: x.contiguous(),
        IN_ORDER[1]: lambda x: x.reshape(batch * seq, -1),
        TURNED[0]: lambda x: x.transpose(1, 2).contiguous(),
        TURNED[1]: lambda x: x.transpose(1, 2).reshape(batch, heads, -1),
        REFUSED: lambda x: x.transpose(1, 2).view(batch, heads, -1),
    }
    ways = {name: look(change, x) for name, change in changes.items()}
    turned = x.permute(2, 0, 1, 3)
    turned[-1, 0, 0, 0] = 100.0
    attend = SelfAttention(heads * head_dim, n_heads=heads).eval()
    states = torch.randn(batch, seq, heads * head_dim)
    attention = {"fused": copies(attend, states)}
    attend.core.tap.register_forward_hook(lambda *_: None)  # with a hook the weights are computed one by one
    attention["watched"] = copies(attend, states)
    return Strides(4 * x.numel(), ways, bool(x[0, 0, -1, 0] == 100.0), attention)


def look(change: Callable[[Tensor], Tensor], x: Tensor) -> Way:
    """Changes the shape of ``x`` and returns what came of it."""
    try:
        copied = layout(Changed(change), x).copied
    except RuntimeError:  # no strides describe the shape that ``view`` was asked for
        return Way([], [], 0, False, 0, False)
    changed = change(x)
    memory, stride, offset = changed.untyped_storage(), list(changed.stride()), int(changed.storage_offset())
    place = offset + sum((size - 1) * step for size, step in zip(changed.shape, stride, strict=True))
    last = torch.empty(0).set_(memory, place, (1,), (1,))  # one number, read at this place of the memory
    same = memory.data_ptr() == x.untyped_storage().data_ptr()
    return Way(list(changed.shape), stride, offset, same, copied, bool(last[0] == changed.flatten()[-1]))


def copies(module: nn.Module, x: Tensor) -> dict[str, int]:
    """Returns how many bytes each function copied in a forward of ``module``."""
    copied: Counter[str] = Counter()
    for step in layout(module, x).steps:
        copied[step.function] += step.copied
    return {function: size for function, size in copied.items() if size}


def check(measured: Strides) -> Claims:
    """Returns whether each sentence of the answer holds."""
    ways, every = measured.ways, measured.bytes
    fused, watched = measured.attention["fused"], measured.attention["watched"]
    free, in_order, turned = ([ways[name] for name in names] for names in (VIEWS, IN_ORDER, TURNED))
    return {
        "rule": all(way.as_the_rule_says for way in (*free, *in_order, *turned)),
        "views": all(way.same_memory and way.bytes_copied == 0 for way in free) and free[4].stride[1] == 0,
        "permute": ways[VIEWS[2]].bytes_copied == 0 and measured.written_through,
        "reshape": in_order[1].bytes_copied == 0 and turned[1].bytes_copied == every and ways[REFUSED].shape == [],
        "contiguous": in_order[0].bytes_copied == 0 and turned[0].bytes_copied == every and not turned[0].same_memory,
        "heads": list(fused) == ["cat"] and "cat" in watched,
        "watched": watched.get("matmul", 0) + watched.get("flatten", 0) == 4 * every,
    }


def facts(measured: Strides) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    return {
        "guess": str(measured.ways[VIEWS[2]].bytes_copied),
        "bytes": f"{measured.ways[TURNED[1]].bytes_copied:,}",
        "weights": f"{measured.attention['fused'].get('cat', 0):,}",
        "states": f"{sum(measured.attention['watched'].values()) - measured.attention['watched'].get('cat', 0):,}",
    }


def show(measured: Strides, say: Say) -> list[Part]:
    """Returns a table of the ways, and one of what attention copies."""
    columns = (say("way"), say("shape"), say("stride"), f">{say('offset')}", say("memory"), f">{say('bytes')}")
    words = {True: say("same"), False: say("new")}
    rows = []
    for name, way in measured.ways.items():
        numbers = (",".join(map(str, way.stride)), str(way.offset), words[way.same_memory], f"{way.bytes_copied:,}")
        rows.append((name, sizes(way.shape), *numbers) if way.shape else (name, say("refused"), "", "", "", ""))
    inside = [(say(kind), *each) for kind, copied in measured.attention.items() for each in copied.items()]
    inside_rows = [(kind, function, f"{size:,}") for kind, function, size in inside]
    last = (say("kind"), say("function"), f">{say('bytes')}")
    return [Table(say("table"), columns, rows), Table(say("attention"), last, inside_rows)]
