"""FLOPs of what runs, by operator and by module, counted with the formulas of ``meter.formulas``."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from clearhead.meter.formulas import Formula, check_counted, known_formulas
from clearhead.meter.operators import OperatorMode
from clearhead.meter.scope import Scope
from clearhead.meter.torch_names import private, private_in

PURPOSE = "FLOPs cannot be counted"
OpOverload: Any = type(torch.ops.aten.add.Tensor)
"""The class of operators that run on tensors."""


class FlopCount(OperatorMode):
    """Counts the FLOPs of what runs while it is entered; it keeps sums.

    PyTorch's ``FlopCounterMode`` gives the same figures where it has a formula, but counts 0 where it has none, follows
    the modules a second time, and asks anew at every call of an operator whether it is made of others.

    Args:
        scope: says for which modules; None counts by operator alone.

    Raises:
        ModelError: an operator that computes products has no formula (``meter.formulas``), so that the count would be
            too low; when it runs, or at once where an operator that we know by name is gone.
    """

    supports_higher_order_operators = True

    def __init__(self, scope: Scope | None = None) -> None:
        super().__init__()
        self.by_operator: Counter[str] = Counter()
        """By the operator's name in the dispatcher."""
        self.by_module: Counter[str] = Counter()
        """Submodules included."""
        self._scope = scope
        self._formulas = known_formulas()
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
            known = self._known[id(operator)] = _look_up(operator, self._formulas)
        if known.branches:  # of which one runs
            condition, branch, other, operands = args
            with self:
                return (branch if condition else other)(*operands)
        if known.made_of_others:
            with self:
                return operator.decompose(*args, **kwargs)
        result = operator(*args, **kwargs)
        if known.formula is not None:
            count = known.formula(*args, **kwargs, out_val=result)
            self.by_operator[known.name] += count
            for name in self._scope.active if self._scope else ():
                self.by_module[name] += count
        return result


@dataclass(frozen=True)
class _Known:
    """What is asked of each operator once."""

    name: str
    formula: Formula | None
    """None: nothing to count."""
    made_of_others: bool = False
    """In inference mode PyTorch hands such an operator on whole."""
    branches: bool = False


def _look_up(operator: Any, formulas: dict[Any, Formula]) -> _Known:
    if not isinstance(operator, OpOverload):  # of higher order: it runs functions
        name, packet, composite = operator.name(), operator, False
    else:
        name, packet = private(operator, "_schema", PURPOSE).name, operator.overloadpacket
        composite = _is_made_of_others(operator)
    formula, branches = formulas.get(packet), name == "cond" and not isinstance(operator, OpOverload)
    if formula is None and not (composite or branches):
        check_counted(name)
    return _Known(name, formula, made_of_others=composite and formula is None, branches=branches)


def _is_made_of_others(operator: Any) -> bool:
    if operator.namespace == "prim":  # asks a tensor for its device, say; the dispatcher has no such operator
        return False
    key = private_in("torch._C", "DispatchKey", PURPOSE).CompositeImplicitAutograd
    return bool(operator.has_kernel_for_dispatch_key(key))
