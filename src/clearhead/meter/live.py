"""Every tensor's memory from its making to its end, as PyTorch's dispatcher sees it: now and at the peak, by label."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from clearhead.meter.operators import OperatorMode, tensors_of


class Live(OperatorMode):
    """Counts the bytes of storages that are alive; it holds numbers and weak references, no tensor.

    Args:
        existing: what is there before, by label.
    """

    def __init__(self, existing: Mapping[str, Iterable[Tensor]]) -> None:
        super().__init__()
        self.phase = "before"
        """The label of what is made from now on is ``made in`` this."""
        self.now: Counter[str] = Counter()
        """Bytes by label."""
        self.total = self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.peak_phase = self.peak_operator = ""
        self._kept: dict[int, tuple[weakref.ref[Any], int, str]] = {}
        for label, tensors in existing.items():
            for tensor in tensors:
                self._add(tensor, label, "")

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and looks at what it returns."""
        result = operator(*args, **(kwargs or {}))
        for tensor in tensors_of(result):
            self._add(tensor, f"made in {self.phase}", str(operator))
        return result

    def restart_peak(self) -> None:
        """Forgets the peak so far: from now on it is that of what follows."""
        self.peak, self.at_peak = self.total, dict(self.now)
        self.peak_phase = self.peak_operator = ""

    def relabel(self, tensor: Tensor, label: str) -> None:
        """Counts the storage of ``tensor`` under another label from now on, unless it was there before."""
        key = storage_of(tensor)
        if key in self._kept:
            reference, size, old = self._kept[key]
            if old.startswith("made in"):
                self._kept[key] = reference, size, label
                self.now[old] -= size
                self.now[label] += size

    def _add(self, tensor: Tensor, label: str, operator: str) -> None:
        if tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._kept:
            return
        size = storage.nbytes()
        self._kept[key] = weakref.ref(storage, self._forget(key)), size, label
        self.now[label] += size
        self.total += size
        if self.total > self.peak:
            self.peak, self.at_peak = self.total, dict(self.now)
            self.peak_phase, self.peak_operator = self.phase, operator

    def _forget(self, key: int) -> Callable[[Any], None]:
        def forget(reference: Any) -> None:
            _, size, label = self._kept.pop(key)
            self.now[label] -= size
            self.total -= size

        return forget


def storage_of(tensor: Tensor) -> int:
    """Returns a number that all views of one storage share while it lives."""
    return int(tensor.untyped_storage()._cdata)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of the storages behind tensors, each once."""
    return sum({storage_of(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
