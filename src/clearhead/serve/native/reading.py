"""Texts that are read for the page: gaps filled, classes, vectors and how near they are, pieces."""

from dataclasses import asdict
from typing import Any

import numpy as np

from clearhead.documents.words import spans
from clearhead.serve.http.body import Fields
from clearhead.tasks.classify.texts import TextClassifier
from clearhead.tasks.masked.texts import TextFiller
from clearhead.text.tokenizer import Tokenizer

MOST_TEXTS, MOST_CANDIDATES = 64, 50


def fill(model: TextFiller, fields: Fields) -> dict[str, Any]:
    """The most probable pieces for each mask of ``text``."""
    return asdict(model.fill(fields.text("text"), top_k=fields.whole("top_k", 8, 1, MOST_CANDIDATES)))


def classify(model: TextClassifier, fields: Fields) -> dict[str, Any]:
    """The class of ``text``, or of the pair with ``pair``, with all probabilities."""
    text = fields.text("text")
    return asdict(model.classify((text, fields.text("pair")) if "pair" in fields else text))


def embed(model: TextFiller, fields: Fields) -> dict[str, Any]:
    """A vector of each of ``texts``, and the cosine of each pair of them."""
    vectors = model.embed(fields.texts("texts", most=MOST_TEXTS))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return {"vectors": vectors.tolist(), "cosines": (units @ units.T).tolist()}


def tokenize(tokenizer: Tokenizer, fields: Fields) -> dict[str, Any]:
    """The pieces of ``text``, their ids, and where each stands in the text that they make."""
    ids = tokenizer.encode(fields.text("text"))
    places = spans(ids, tokenizer.decode)
    return {"pieces": tokenizer.pieces(ids), "ids": ids, "spans": places, "text": tokenizer.decode(ids)}
