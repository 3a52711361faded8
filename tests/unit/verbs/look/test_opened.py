"""Runs of all families opened: batches as in training, of a text or of random pieces."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.verbs.look.opened import Opened, Shape

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


def test_random_pieces_are_the_same_each_time_and_none_is_special(run: Path) -> None:
    first, second = (Opened.open(run, shape=Shape(3, 9), **WHERE).batch for _ in range(2))
    ids: Any = getattr(first, "src_ids", None) if hasattr(first, "src_ids") else first.ids
    others: Any = getattr(second, "src_ids", None) if hasattr(second, "src_ids") else second.ids
    assert torch.equal(ids, others)
    assert len(ids) == 3


def test_the_target_of_a_text_is_its_translation(toy_run: Path) -> None:
    opened = Opened.open(toy_run, "他喜欢书。", **WHERE)
    found = opened.trained.translate(["他喜欢书。"], beam=1)[0]  # type: ignore[union-attr]
    assert opened.inputs["tgt_ids"][0, 1:].tolist() == found.target_ids[:-1]


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


def test_shapes_of_a_batch() -> None:
    assert Shape.parse("4X16") == Shape(4, 16)
    for text in ("4", "0x4", "4x1", "axb", "-1x5"):
        with pytest.raises(UsageError, match="must be ROWSxLENGTH"):
            Shape.parse(text)
