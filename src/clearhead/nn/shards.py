"""Sharded tensors, of which each process holds a part (FSDP's DTensor): gathering them, and cutting them again."""

import sys
from typing import Any

from torch import Tensor


def is_shard(tensor: Tensor) -> bool:
    """Whether this process holds only a part of ``tensor``."""
    # not imported here, since that is slow: unless somebody else has imported it, there is no DTensor yet
    module: Any = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Gathers a sharded tensor, for which all processes must call this; returns any other tensor unchanged."""
    if not is_shard(tensor):
        return tensor
    sharded: Any = tensor
    gathered: Tensor = sharded.full_tensor()
    return gathered


def part_like(own: Tensor, value: Tensor) -> Tensor:
    """Shards ``value``, which every process has whole, in the way ``own`` is sharded; as it is if ``own`` is not."""
    if not is_shard(own):
        return value
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = own
    return distribute_tensor(value.to(own.device), sharded.device_mesh, sharded.placements, src_data_rank=None)
