"""Log-probabilities: tokens by what they spell, offsets into the text, and no infinity, which JSON has none of."""

import json
from typing import Any

import pytest

from clearhead.serve.dialects.openai.logprobs import LogProbs
from clearhead.serve.writing import Wrote


@pytest.fixture
def told(toy_site: Any) -> LogProbs:
    return LogProbs(toy_site.models.get("lm").now.model.tokenizer, 2)


def test_pieces_are_told(told: LogProbs) -> None:
    first, second = told.tokenizer.encode("She eats")[:2]
    top = [(first, -0.5), (second, -1.0), (0, -3.0)]
    pieces = [
        Wrote(0, "She", first, -0.5, top), Wrote(0, "", -1, 0.0, []),
        Wrote(0, " ea", second, -2.0, [(0, float("-inf"))]),
    ]  # fmt: skip
    tree = told.tree(pieces, 7)
    assert tree["tokens"] == [told.name(first), told.name(second)]
    assert tree["token_logprobs"] == [-0.5, -2.0]
    assert tree["text_offset"] == [7, 10]
    assert tree["top_logprobs"] == [{told.name(first): -0.5, told.name(second): -1.0}, {}]
    json.dumps(tree, allow_nan=False)
    assert LogProbs(told.tokenizer, 0).tree(pieces, 0)["top_logprobs"] is None


def test_every_piece_has_a_name(told: LogProbs) -> None:
    names = [told.name(index) for index in range(told.tokenizer.vocab_size)]
    assert all(names)
    json.dumps(names, ensure_ascii=False).encode()


def test_parts_of_characters_are_bytes(told: LogProbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(told.tokenizer), "spelling", lambda self, index: b"\xe6\x88")
    assert told.name(5) == "bytes:\\xe6\\x88"
