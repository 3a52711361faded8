"""Gaps and vectors by the native engine are those by PyTorch; int8 is near, and a text never depends on its company."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.engine.rows import NativeModel
from clearhead.errors import UsageError
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.texts import Filled
from clearhead.text.special import MASK
from tests.native import NATIVE

pytestmark = NATIVE


@pytest.fixture(scope="module")
def by_torch(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run, device="cpu", engine="torch")


@pytest.fixture(scope="module")
def by_engine(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run, device="cpu", engine="native")


@pytest.fixture(scope="module")
def lines(toy_masked_run: Path) -> list[str]:
    text = (toy_masked_run.parent / "data" / "train.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if len(line.split()) > 3][:150]


def hide(line: str) -> str:
    words = line.split(" ")
    return " ".join(MASK if number % 3 == 1 else word for number, word in enumerate(words))


def test_who_computes(by_torch: MaskedModel, by_engine: MaskedModel, toy_masked_run: Path) -> None:
    assert by_torch.reader is by_torch.model
    assert isinstance(by_engine.reader, NativeModel)
    assert isinstance(MaskedModel.load(toy_masked_run, device="cpu").reader, NativeModel)


def test_gaps(by_torch: MaskedModel, by_engine: MaskedModel, lines: list[str]) -> None:
    texts = [hide(line) for line in lines]
    both = [model.fill(texts, top_k=4) for model in (by_torch, by_engine)]
    for expected, found in zip(*both, strict=True):
        assert len(found.masks) == len(expected.masks) > 0
        for mask, other in zip(expected.masks, found.masks, strict=True):
            assert [one.probability for one in other] == pytest.approx([one.probability for one in mask], abs=1e-5)
    same = sum(found.text == expected.text for expected, found in zip(*both, strict=True))
    assert same == len(texts)


@pytest.mark.parametrize("pooling", ["mean", "first", "max"])
def test_vectors(pooling: Any, by_torch: MaskedModel, by_engine: MaskedModel, lines: list[str]) -> None:
    texts = ["", *lines]
    vectors = []
    for model in (by_torch, by_engine):
        object.__setattr__(model.recipe.embedding, "pooling", pooling)
        vectors.append(model.embed(texts))
        object.__setattr__(model.recipe.embedding, "pooling", "mean")
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-4


def test_int8_alone_and_in_company(by_torch: MaskedModel, toy_masked_run: Path, lines: list[str]) -> None:
    model = MaskedModel.load(toy_masked_run, device="cpu", weights="int8")
    together, exact = model.embed(lines), by_torch.embed(lines)
    cosines = (together * exact).sum(1) / np.linalg.norm(together, axis=1) / np.linalg.norm(exact, axis=1)
    assert 0.99 < cosines.min() < 1.0
    assert all(np.array_equal(model.embed(line), vector) for line, vector in zip(lines[:20], together, strict=False))
    texts = [hide(line) for line in lines[:20]]
    assert model.fill(texts) == [model.fill(text) for text in texts]


def test_a_text_that_cannot_be_read_leaves_the_others(by_engine: MaskedModel, lines: list[str]) -> None:
    faults: list[int] = []
    found = by_engine.embed([lines[0], "\ud800", lines[1]], on_error=lambda number, _: faults.append(number))
    assert faults == [1]
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]
    filled: list[Filled] = by_engine.fill(["no gap", hide(lines[0])], on_error=lambda number, _: faults.append(number))
    assert [bool(one.masks) for one in filled] == [False, True]


def test_what_it_cannot_have(toy_masked_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^weights = 'int8': engine = 'torch' has an encoder's weights as they are$"):
        MaskedModel.load(toy_masked_run, device="cpu", weights="int8", engine="torch")
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    with pytest.raises(UsageError, match=r"^engine = 'native': CLEARHEAD_ENGINE is off$"):
        MaskedModel.load(toy_masked_run, device="cpu", engine="native")
    with pytest.raises(UsageError, match=r"^weights = 'int8': CLEARHEAD_ENGINE is off$"):
        MaskedModel.load(toy_masked_run, device="cpu", weights="int8")
    model = MaskedModel.load(toy_masked_run, device="cpu")
    assert model.reader is model.model
