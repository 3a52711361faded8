"""Tensors of which each process holds a part (FSDP's DTensor): gathered, and cut again."""

import sys
from typing import Any

from torch import Tensor


def is_shard(tensor: Tensor) -> bool:
    """Whether this process holds a part of ``tensor`` only."""
    # nobody can have made one before the module was loaded, which takes a while
    module: Any = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a tensor; where each process has a part, all must call this. Others are as they were."""
    found: Any = tensor
    gathered: Tensor = found.full_tensor() if is_shard(tensor) else tensor
    return gathered


def part_like(own: Tensor, value: Tensor) -> Tensor:
    """Returns the part of ``value``, which all processes have whole, that belongs beside ``own``."""
    if not is_shard(own):
        return value
    from torch.distributed.tensor import distribute_tensor

    kind: Any = own
    return distribute_tensor(value.to(own.device), kind.device_mesh, kind.placements, src_data_rank=None)
