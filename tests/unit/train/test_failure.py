"""A failed step in a run: what went in comes out, of every kind of batch; nothing there is one clear line."""

from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import model_tensors
from clearhead.data.masked import MaskedBatch
from clearhead.data.translation import Batch, collate
from clearhead.errors import ModelError
from clearhead.train.failure import FOLDER, Failure, load_failure, save_failure
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
