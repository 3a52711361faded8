"""Memory of live tensors, now and at the peak, by label: every storage from the operator that makes it to its end."""

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.meter.torch_names import private

PURPOSE = "memory cannot be counted"


class Live(OperatorMode):
    """Counts the bytes of live storages while it is entered; it holds numbers and weak references, no tensor.

    Args:
        existing: tensors that exist before, by label.
    """

    def __init__(self, existing: Mapping[str, Iterable[Tensor]]) -> None:
        super().__init__()
        self.phase = "before"
        """Storages made from now on have the label ``made in <phase>``."""
        self.now: Counter[str] = Counter()
        """Bytes by label."""
        self.total = self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.peak_phase = self.peak_operator = ""
        self._storages: dict[int, tuple[weakref.ref[Any], int, str]] = {}
        for label, tensors in existing.items():
            for tensor in tensors:
                self._add(tensor, label, "")

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and counts the storages that it returns."""
        result = operator(*args, **(kwargs or {}))
        for tensor in tensors_of(result):
            self._add(tensor, f"made in {self.phase}", str(operator))
        return result

    def restart_peak(self) -> None:
        """Starts a new peak at what is live now."""
        self.peak, self.at_peak = self.total, dict(self.now)
        self.peak_phase = self.peak_operator = ""

    def relabel(self, tensor: Tensor, label: str) -> None:
        """Counts the storage of ``tensor`` under another label from now on, unless it is one of ``existing``."""
        key = storage_of(tensor)
        if key in self._storages:
            reference, size, old = self._storages[key]
            if old.startswith("made in"):
                self._storages[key] = reference, size, label
                self.now[old] -= size
                self.now[label] += size

    def _add(self, tensor: Tensor, label: str, operator: str) -> None:
        if tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        key = private(storage, "_cdata", PURPOSE)
        if key in self._storages:
            return
        size = storage.nbytes()
        self._storages[key] = weakref.ref(storage, partial(self._forget, key)), size, label
        self.now[label] += size
        self.total += size
        if self.total > self.peak:
            self.peak, self.at_peak = self.total, dict(self.now)
            self.peak_phase, self.peak_operator = self.phase, operator

    def _forget(self, key: int, reference: Any) -> None:
        _, size, label = self._storages.pop(key)
        self.now[label] -= size
        self.total -= size


def storage_of(tensor: Tensor) -> int:
    """Returns a number that identifies the storage of a tensor while it lives; all its views have the same."""
    return int(private(tensor.untyped_storage(), "_cdata", PURPOSE))


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of the storages behind tensors, each once."""
    return sum({storage_of(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
