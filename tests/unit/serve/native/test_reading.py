"""Gaps, classes, vectors and pieces by the native interface are those of the models."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from clearhead.serve.http.body import Fields
from clearhead.serve.native.reading import classify, embed, fill, tokenize
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.masked.model import MaskedModel


@pytest.fixture(scope="module")
def bert(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run, device="cpu")


def test_fill(bert: MaskedModel) -> None:
    text = "He ate [MASK] apple."
    assert fill(bert, Fields({"text": text, "top_k": 3})) == asdict(bert.fill(text, top_k=3))


def test_embed(bert: MaskedModel) -> None:
    texts = ["He ate an apple.", "She likes books."]
    found = embed(bert, Fields({"texts": texts}))
    vectors = bert.embed(texts)
    np.testing.assert_allclose(found["vectors"], vectors)
    cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
    np.testing.assert_allclose(found["cosines"], [[1, cosine], [cosine, 1]], rtol=1e-5)
    assert embed(bert, Fields({"texts": texts[0]}))["vectors"] == found["vectors"][:1]


def test_classify(toy_classifier: Path, toy_pair_classifier: Path) -> None:
    model = Classifier.load(toy_classifier, device="cpu")
    assert classify(model, Fields({"text": "the film was great"})) == asdict(model.classify("the film was great"))
    pairs = Classifier.load(toy_pair_classifier, device="cpu")
    given = {"text": "the film", "pair": "was great"}
    assert classify(pairs, Fields(given)) == asdict(pairs.classify(("the film", "was great")))


def test_tokenize(bert: MaskedModel) -> None:
    text = "He ate an apple."
    found = tokenize(bert.tokenizer, Fields({"text": text}))
    assert found["ids"] == bert.tokenizer.encode(text)
    assert found["pieces"] == bert.tokenizer.pieces(found["ids"])
    assert [found["text"][start:end] for start, end in found["spans"]]
    assert "".join(found["text"][start:end] for start, end in found["spans"]) == found["text"]
