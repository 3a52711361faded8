"""FLOPs of a forward, by operator and by module: PyTorch's formulas, counted on the modules that ``Scope`` follows."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._ops import OpOverload
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

from clearhead.meter.operators import OperatorMode
from clearhead.meter.scope import Scope

Formula = Callable[..., int]


FORMULAS: dict[Any, Formula] = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}
"""PyTorch's by operator, also for the attention of CPUs, which it leaves out; a causal mask is not taken off."""


class FlopCount(OperatorMode):
    """Counts the FLOPs of what runs while it is entered; it keeps sums.

    PyTorch's ``FlopCounterMode`` gives the same figures, but follows the modules a second time, and asks anew at every
    call of an operator whether it is made of others.

    Args:
        scope: says for which modules; None counts by operator alone.
    """

    supports_higher_order_operators = True

    def __init__(self, scope: Scope | None = None) -> None:
        super().__init__()
        self.by_operator: Counter[str] = Counter()
        """By the operator's name in the dispatcher."""
        self.by_module: Counter[str] = Counter()
        """Submodules included."""
        self._scope = scope
        self._known: dict[int, _Known] = {}

    @property
    def total(self) -> int:
        """Of everything."""
        return self.by_operator.total()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and counts."""
        kwargs = kwargs or {}
        known = self._known.get(id(operator))  # there is one of each, and it stays
        if known is None:
            known = self._known[id(operator)] = _Known.of(operator)
        if known.branches:  # of which one runs
            condition, branch, other, operands = args
            with self:
                return (branch if condition else other)(*operands)
        if known.made_of_others:
            with self:
                return operator.decompose(*args, **kwargs)
        found = operator(*args, **kwargs)
        if known.formula is not None:
            count = known.formula(*args, **kwargs, out_val=found)
            self.by_operator[known.name] += count
            for name in self._scope.active if self._scope else ():
                self.by_module[name] += count
        return found


@dataclass(frozen=True)
class _Known:
    """What is asked of each operator once."""

    name: str
    formula: Formula | None
    made_of_others: bool = False
    """In inference mode PyTorch hands such an operator on whole."""
    branches: bool = False

    @classmethod
    def of(cls, operator: Any) -> "_Known":
        if not isinstance(operator, OpOverload):  # of higher order: it runs functions
            return cls(operator.name(), FORMULAS.get(operator), branches=operator is torch.ops.higher_order.cond)
        formula = FORMULAS.get(operator.overloadpacket)
        made = formula is None and operator.has_kernel_for_dispatch_key(DispatchKey.CompositeImplicitAutograd)
        return cls(operator._schema.name, formula and _of_tensors(formula), made)


def _of_tensors(formula: Formula) -> Formula:
    """Finds the shapes that most formulas take; PyTorch's wrapper around them does so by trees, which takes longer."""
    of_shapes: Formula | None = getattr(formula, "__wrapped__", None)
    if of_shapes is None:  # it takes tensors
        return formula

    counts: dict[Any, int] = {}  # of layers that are alike once

    def count(*args: Any, out_val: Any, **kwargs: Any) -> int:
        key = _shapes(args), _shapes(tuple(kwargs.items())), _shapes(out_val)
        if key not in counts:
            counts[key] = of_shapes(*key[0], **dict(key[1]), out_shape=key[2])
        return counts[key]

    return count


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(_shapes, value)) if isinstance(value, list | tuple) else value
