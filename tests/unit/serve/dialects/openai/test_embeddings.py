"""Embeddings: those of the model, as numbers or in base64, of texts or pieces."""

import base64
from typing import Any

import numpy as np
import pytest

from tests.serving import Answer, Asking


def embedded(asking: Asking, given: Any, **change: Any) -> Answer:
    return asking.post("/v1/embeddings", {"model": "bert", "input": given, **change})


def test_they_are_those_of_the_model(toy_site: Any, toy_asking: Asking) -> None:
    texts = ["She is at home.", "We eat.", ""]
    expected = toy_site.models.get("bert").now.model.embed(texts)
    tree = embedded(toy_asking, texts).json
    assert [each["index"] for each in tree["data"]] == [0, 1, 2]
    np.testing.assert_allclose([each["embedding"] for each in tree["data"]], expected, atol=1e-6)
    packed = embedded(toy_asking, texts, encoding_format="base64").json["data"]
    for each, vector in zip(packed, expected, strict=True):
        found = np.frombuffer(base64.b64decode(each["embedding"]), dtype="<f4")
        np.testing.assert_allclose(found, vector, atol=1e-6)
    alone = embedded(toy_asking, texts[0]).json
    np.testing.assert_allclose(alone["data"][0]["embedding"], expected[0], atol=1e-5)
    assert "completion_tokens" not in tree["usage"]
    assert tree["usage"]["prompt_tokens"] == tree["usage"]["total_tokens"] > 5
    assert tree["model"] == "bert"


def test_pieces_are_read_too(toy_site: Any, toy_asking: Asking) -> None:
    tokenizer = toy_site.models.get("bert").now.model.tokenizer
    text = tokenizer.decode(tokenizer.encode("She is at home."))
    ids = tokenizer.encode(text)
    one = embedded(toy_asking, text).json["data"][0]["embedding"]
    for given in (ids, [ids], [text]):
        np.testing.assert_allclose(embedded(toy_asking, given).json["data"][0]["embedding"], one, atol=1e-6)


def test_many_are_computed_in_turns(toy_asking: Asking) -> None:
    tree = embedded(toy_asking, ["We eat.", "She is at home."] * 70).json
    assert len(tree["data"]) == 140
    np.testing.assert_allclose(tree["data"][0]["embedding"], tree["data"][138]["embedding"], atol=1e-5)


@pytest.mark.parametrize(
    ("given", "change", "param"),
    [
        (None, {}, "input"),
        ([], {}, "input"),
        (5, {}, "input"),
        ([True], {}, "input"),
        ([[]], {}, "input"),
        ([[1, "a"]], {}, "input"),
        ([99_999], {}, "input"),
        ([["a"]], {}, "input"),
        ({"a": 1}, {}, "input"),
        (["a"] * 2049, {}, "input"),
        ("a", {"dimensions": 3}, "dimensions"),
        ("a", {"encoding_format": "hex"}, "encoding_format"),
        ("a", {"model": "lm"}, "model"),
        ("a b " * 20_000, {}, None),
    ],
)
def test_what_is_wrong_is_said(given: Any, change: dict[str, Any], param: str | None, toy_asking: Asking) -> None:
    answer = embedded(toy_asking, given, **change)
    assert (answer.status, answer.json["error"]["param"]) == (400, param), answer.text


def test_their_own_size_may_be_asked_for(toy_site: Any, toy_asking: Asking) -> None:
    size = toy_site.models.get("bert").now.model.d_model
    assert len(embedded(toy_asking, "a", dimensions=size).json["data"][0]["embedding"]) == size
