"""Runs of all families opened: batches as in training, of a text or of random pieces."""

from pathlib import Path

import pytest
import torch

from clearhead.errors import DataError, ModelError
from clearhead.tasks.sample import Shape
from clearhead.verbs.look.opened import Opened

WHERE: dict[str, str] = {"checkpoint": "best", "device": "cpu"}
RUNS = ("toy_run", "toy_lm_run", "toy_masked_run", "toy_classifier", "toy_pair_classifier")


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("text", [None, "我吃了一个苹果。"])
def test_every_family_can_be_called_and_has_a_loss(run: Path, text: str | None) -> None:
    opened = Opened.open(run, text, **WHERE)
    opened.model(**opened.inputs)
    loss = opened.loss(opened.model, opened.batch)
    assert torch.isfinite(loss)
    assert loss.requires_grad
    assert opened.tokens == sum(value.numel() for name, value in opened.inputs.items() if name.endswith("ids"))


def test_rows_fit_the_model(run: Path) -> None:
    opened = Opened.open(run, shape=Shape(2, 10_000), **WHERE)
    opened.model(**opened.inputs)


def test_bad_texts(toy_lm_run: Path) -> None:
    with pytest.raises(DataError, match="text '': is empty"):
        Opened.open(toy_lm_run, " ", **WHERE)
    with pytest.raises(DataError, match=r"pieces, the model has room for 48"):
        _ = Opened.open(toy_lm_run, "apple " * 100, **WHERE).batch


def test_what_has_no_modules(toy_baselines: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="an n-gram model has counts"):
        Opened.open(toy_baselines["ngram"], **WHERE)
    opened = Opened.open(toy_baselines["rnn_language_model"], **WHERE)
    assert torch.isfinite(opened.loss(opened.model, opened.batch))
