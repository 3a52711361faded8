"""Plain tensors, which every process has whole; training/test_distributed.py tests sharded ones."""

import torch

from clearhead.nn.shards import is_shard, part_like, whole


def test_a_plain_tensor_is_its_own_whole_and_part() -> None:
    own, value = torch.ones(3), torch.zeros(3)
    assert not is_shard(own)
    assert whole(own) is own
    assert part_like(own, value) is value
