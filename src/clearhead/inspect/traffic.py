"""Bytes that a computation reads from and writes to a K-V cache, seen at PyTorch's dispatcher."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.meter.torch_names import private
from clearhead.nn.cache import KVCache

PURPOSE = "traffic of the cache cannot be counted"
SHAPED_LIKE = {torch.ops.aten.new_empty.default, torch.ops.aten.empty_like.default}  # they read no element


class CacheTraffic(OperatorMode):
    """Counts, while it is entered, the bytes of a cache that kernels read, write and copy elsewhere.

    Every operator that runs is seen with its tensors. A tensor in the cache counts with its distinct elements: as
    ``written`` if the operator changes it in place; as ``copied`` if it is copied into another tensor, as happens when
    the cache grows; otherwise as ``read``, once for each operator that takes it. Views count nothing. Only three sums
    are kept.

    Args:
        cache: is watched together with its keys and values of the memory; it may grow.
    """

    def __init__(self, cache: KVCache) -> None:
        super().__init__()
        self.cache, self.read, self.written, self.copied = cache, 0, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operator and counts."""
        kwargs = kwargs or {}
        held = {tensor.untyped_storage().data_ptr() for tensor in _tensors_of(self.cache)}
        result = func(*args, **kwargs)
        moved = {tensor.untyped_storage().data_ptr() for tensor in _tensors(result)}
        changed = [
            argument.alias_info is not None and argument.alias_info.is_write
            for argument in private(func, "_schema", PURPOSE).arguments
        ]
        for place, argument in enumerate((*args, *kwargs.values())):
            for tensor in _tensors(argument):
                pointer = tensor.untyped_storage().data_ptr()
                if pointer in held:
                    moves = func not in SHAPED_LIKE and (any(changed) or pointer not in moved)
                    self._count(func, tensor, place < len(args) and changed[place], moves=moves)
        return result

    def _count(self, func: Any, tensor: Tensor, is_written: bool, *, moves: bool) -> None:
        size = distinct_bytes(tensor) if moves else 0
        if is_written:
            self.written += size
        elif func is torch.ops.aten.copy_.default:
            self.copied += size
        else:
            self.read += size


def distinct_bytes(tensor: Tensor) -> int:
    """Returns the bytes of a tensor's distinct elements; those repeated by broadcasting count once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or not size else 1
    return count * tensor.element_size()


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Yields the tensors that have a storage; weights packed for oneDNN have none."""
    return (tensor for tensor in tensors_of(tree) if tensor.layout is torch.strided)


def _tensors_of(cache: KVCache) -> Iterator[Tensor]:
    yield cache.buffer
    for keys, values in cache.cross:
        yield keys
        yield values
