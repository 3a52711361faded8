"""Every operator as PyTorch's dispatcher runs it: what the watchers of operators have in common."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OperatorMode(TorchDispatchMode):
    """A dispatch mode that only looks.

    PyTorch would wrap it in a guard against its compiler, and import that, which takes longer than most views. What is
    looked at is eager (``call.check_eager``); what compiles itself, as ``torch.cond`` does, is seen as it runs.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """See ``TorchDispatchMode``."""
        return True

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator."""
        return operator(*args, **(kwargs or {}))


def tensors_of(value: Any) -> list[Tensor]:
    """Returns the tensors in a value, in order: what ``tree_leaves`` finds, which takes longer than many operators."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for one in value for tensor in tensors_of(one)]
    if value is None or isinstance(value, int | float | str):
        return []
    if isinstance(value, Mapping):
        return [tensor for one in value.values() for tensor in tensors_of(one)]
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
