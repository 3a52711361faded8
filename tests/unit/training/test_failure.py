"""Steps that go wrong: divergence is said once; a failed step in a run comes out as it went in."""

import random
from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import model_tensors
from clearhead.data.masked import MaskedBatch
from clearhead.data.translation import Batch, collate
from clearhead.errors import ModelError
from clearhead.training.events import Diverging, Skipped, Stepped
from clearhead.training.failure import FOLDER, WINDOW, Divergence, Failure, load_failure, save_failure
from tests.small import random_rows, small


def test_what_went_in_comes_out(tmp_path: Path) -> None:
    batches = [collate(random_rows([2, 3]), random_rows([4, 1])), collate(random_rows([2]), random_rows([4]))]
    assert batches[1].src_mask is None
    model = small()
    failure = Failure(7, 123, float("nan"), float("inf"), 9.0, "lines 1, 2", batches)
    assert save_failure(tmp_path, model, failure) == tmp_path / FOLDER
    found, weights = load_failure(tmp_path, Batch)
    assert (found.step, found.seed, found.total, found.where) == (7, 123, 9.0, "lines 1, 2")
    assert str(found.loss), str(found.grad_norm) == ("nan", "inf")
    for ours, theirs in zip(found.batches, batches, strict=True):
        for name, value in vars(theirs).items():
            got = getattr(ours, name)
            assert torch.equal(got, value) if isinstance(value, torch.Tensor) else got == value, name
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model_tensors(model).items())


def test_batches_without_some_of_their_tensors(tmp_path: Path) -> None:
    ids = torch.tensor([[1, 2]])
    batch = MaskedBatch(ids, ids, ids.bool(), torch.tensor([1]), torch.tensor([2]), None, 1)
    save_failure(tmp_path, small(), Failure(1, 0, 0.0, 0.0, 1.0, "", [batch]))
    (found,) = load_failure(tmp_path, MaskedBatch)[0].batches
    assert found.next_labels is None
    assert torch.equal(found.mask, batch.mask)


def test_nothing_to_replay(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no step to replay"):
        load_failure(tmp_path, Batch)


def seen(losses: list[float]) -> list[Diverging]:
    watched = Divergence()
    events = [Stepped(step, 0, loss, 0.5, 1.0, 10, 0.1) for step, loss in enumerate(losses, 1)]
    return [found for event in events for found in watched.see(event)]


def test_said_once_and_says_where_it_was_best() -> None:
    falling = [8 - 0.05 * step for step in range(100)]
    (found,) = seen(falling + [9.0] * 100)
    assert 100 < found.step < 100 + 2 * WINDOW
    assert found.lowest_step == 100
    assert found.lowest < 4
    assert found.loss > 7.5
    assert found.lr == 0.5


def test_worse_than_the_first_steps_by_far() -> None:
    assert len(seen([8.0] * WINDOW + [30.0] * WINDOW)) == 1


def test_noise_spikes_and_a_loss_that_stays_are_not_divergence() -> None:
    draw = random.Random(0)
    assert seen([8 + draw.gauss(0, 1) for _ in range(2000)]) == []
    assert seen([8 - 0.01 * step for step in range(300)] + [20.0] * 3 + [5.0] * 100) == []
    assert seen([0.5] * 50 + [1.2] * 100) == [], "small losses may double"
    assert seen([8.0] * 30 + [3.0] * 100 + [5.5] * 100) == [], "still better than at the start"


def test_skipped_steps_are_none() -> None:
    watched = Divergence()
    assert list(watched.see(Skipped(1, 0, float("nan"), 1.0, 1, "", 0.1))) == []
