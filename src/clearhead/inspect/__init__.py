"""Looks into models through PyTorch's own hooks; nothing on the way from text to text knows it.

    >>> import clearhead
    >>> clearhead.inspect.model(any_module, batch)

Views are loaded when first used, so that importing the package loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearhead.inspect.attend.beside import parts
    from clearhead.inspect.attend.inputs import embedding
    from clearhead.inspect.attend.numbers import query
    from clearhead.inspect.attend.slopes import jacobian
    from clearhead.inspect.curves import activations, schedule
    from clearhead.inspect.dispatch import ops
    from clearhead.inspect.flow import gradients
    from clearhead.inspect.graph import autograd
    from clearhead.inspect.heads import attention
    from clearhead.inspect.ledger import memory
    from clearhead.inspect.modules import model
    from clearhead.inspect.norms import norm
    from clearhead.inspect.ranks import rank
    from clearhead.inspect.saved import checkpoint
    from clearhead.inspect.slots import optimizer
    from clearhead.inspect.step.accumulation import accumulate
    from clearhead.inspect.step.order import hooks
    from clearhead.inspect.strides import layout

__all__ = [
    "accumulate",
    "activations",
    "attention",
    "autograd",
    "checkpoint",
    "embedding",
    "gradients",
    "hooks",
    "jacobian",
    "layout",
    "memory",
    "model",
    "norm",
    "ops",
    "optimizer",
    "parts",
    "query",
    "rank",
    "schedule",
]

_HOMES = {
    "accumulate": "step.accumulation",
    "activations": "curves",
    "attention": "heads",
    "autograd": "graph",
    "checkpoint": "saved",
    "embedding": "attend.inputs",
    "gradients": "flow",
    "hooks": "step.order",
    "jacobian": "attend.slopes",
    "layout": "strides",
    "memory": "ledger",
    "model": "modules",
    "norm": "norms",
    "ops": "dispatch",
    "optimizer": "slots",
    "parts": "attend.beside",
    "query": "attend.numbers",
    "rank": "ranks",
    "schedule": "curves",
}
"""View -> the module that makes it; no module has a view's name, which Python would bind instead."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clearhead.inspect' has no attribute {name!r}")
    return getattr(importlib.import_module(f"clearhead.inspect.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
