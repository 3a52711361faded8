"""Rules on scores: what each one leaves, and that it changes nothing else."""

import torch

from clearhead.decode.rules import at_least, forbid, force_prefix

OFF = float("-inf")


def scores() -> torch.Tensor:
    return torch.arange(24.0).reshape(2, 3, 4)  # sentences beam vocab


def so_far(length: int) -> torch.Tensor:
    return torch.zeros(2, 3, length, dtype=torch.long)  # sentences beam length


def test_forbid_takes_pieces_away_everywhere() -> None:
    found = scores()
    forbid([0, 2])(found, so_far(5), torch.tensor([7, 9]))
    assert found[:, :, [0, 2]].eq(OFF).all()
    assert torch.equal(found[:, :, [1, 3]], scores()[:, :, [1, 3]])


def test_force_prefix_knows_each_sentence_wherever_it_stands_now() -> None:
    rule, found = force_prefix([[1, 2], [], [3]]), scores()
    rule(found, so_far(0), torch.tensor([2, 1]))  # rows are sentences 2 and 1: sentence 0 has left
    assert torch.equal(found[0, :, 3], scores()[0, :, 3])
    assert found[0, :, :3].eq(OFF).all()
    assert torch.equal(found[1], scores()[1])
    found = scores()
    rule(found, so_far(1), torch.tensor([0, 2]))
    assert torch.equal(found[0, :, 2], scores()[0, :, 2])
    assert found[0, :, [0, 1, 3]].eq(OFF).all()
    assert torch.equal(found[1], scores()[1]), "a prefix that is over forces nothing"


def test_at_least_holds_the_end_back() -> None:
    rule, found = at_least(2, eos_id=1), scores()
    rule(found, so_far(1), torch.tensor([0, 1]))
    assert found[:, :, 1].eq(OFF).all()
    assert torch.equal(found[:, :, [0, 2, 3]], scores()[:, :, [0, 2, 3]])
    found = scores()
    rule(found, so_far(2), torch.tensor([0, 1]))
    assert torch.equal(found, scores())
