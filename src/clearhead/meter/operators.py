"""The base of all watchers of operators: a dispatch mode that changes nothing, and the tensors in a value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from clearhead.meter.torch_names import base_class, private_in

if TYPE_CHECKING:
    from torch.utils._python_dispatch import TorchDispatchMode
else:
    TorchDispatchMode = base_class("torch.utils._python_dispatch", "TorchDispatchMode", "operators cannot be watched")


class OperatorMode(TorchDispatchMode):
    """A dispatch mode that sees every operator and changes nothing.

    PyTorch would import its compiler to guard the mode against it, which takes longer than most views. No guard is
    needed: models are eager (``call.check_eager``), and what compiles itself, as ``torch.cond`` does, is seen as it
    runs.
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
    """Returns the tensors in a value, in order, as ``tree_leaves`` does, which takes longer than many operators."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors_of(item)]
    if value is None or isinstance(value, int | float | str):
        return []
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_of(item)]
    leaves = private_in("torch.utils._pytree", "tree_leaves", f"tensors in a {type(value).__name__} cannot be listed")
    return [leaf for leaf in leaves(value) if isinstance(leaf, Tensor)]
