"""Vocabularies of llama.cpp: which model each kind becomes, scores by rank, and what is refused."""

import pytest

from clearhead.errors import ModelError
from clearhead.export.gguf_tokenizer import BYTE, CONTROL, NORMAL, UNKNOWN, vocabulary
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LINES = ["the cat sat on the mat", "a dog ran home, and a cat did not"] * 3


def trained(kind: str, **words: object) -> Tokenizer:
    size = 300 if kind == "byte_bpe" else 80
    return Tokenizer.train(LINES, TokenizerConfig(**{"kind": kind, "vocab_size": size, **words}))  # type: ignore[arg-type]


def test_bytes_are_gpt2s() -> None:
    tokenizer = trained("byte_bpe")
    words = vocabulary(tokenizer)
    assert (words.model, words.pre) == ("gpt2", "gpt-2")
    assert words.pieces == [tokenizer.piece(index) for index in range(tokenizer.vocab_size)]
    assert words.types[:5] == [CONTROL, CONTROL, CONTROL, UNKNOWN, NORMAL]
    assert len(words.merges) > 10
    assert all(len(merge.split(" ")) == 2 for merge in words.merges)


def test_an_earlier_merge_has_a_better_score() -> None:
    tokenizer = trained("bpe")
    words = vocabulary(tokenizer)
    merges = tokenizer.source.merges  # type: ignore[union-attr]
    first, last = ("".join(merge) for merge in (merges[0], merges[-1]))
    assert words.scores[words.pieces.index(first)] == 0.0
    assert words.scores[words.pieces.index(last)] == -(len(merges) - 1)
    assert words.settings["add_space_prefix"] is True
    assert words.types[tokenizer.vocab_size :] == [BYTE] * 256


def test_characters_have_no_order() -> None:
    words = vocabulary(trained("char"))
    assert set(words.scores) == {0.0}
    assert "▁" in words.pieces
    assert words.settings["add_space_prefix"] is False


def test_words_begin_with_a_mark_and_go_on_without() -> None:
    tokenizer = trained("wordpiece", specials="masked", lowercase=True, vocab_size=40)
    words = vocabulary(tokenizer)
    for index in range(7, tokenizer.vocab_size):
        piece = tokenizer.piece(index)
        assert words.pieces[index] == (piece[2:] if piece.startswith("##") else f"▁{piece}")
    assert words.settings["seperator_token_id"] == tokenizer.ids.sep


@pytest.mark.parametrize(
    ("kind", "words", "rule"),
    [
        ("unigram", {}, "tokenizer.kind = 'unigram': must be"),
        ("wordpiece", {"specials": "masked"}, "tokenizer.lowercase = False: must be True"),
        ("wordpiece", {"lowercase": True}, "tokenizer.specials = 'sequence': must be 'masked'"),
        ("bpe", {"lowercase": True}, "tokenizer.lowercase = True: must be False"),
        ("char", {"normalization": "nfkc"}, "tokenizer.normalization = 'nfkc': must be 'none'"),
    ],
)
def test_what_would_read_other_ids_is_refused(kind: str, words: dict[str, object], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        vocabulary(trained(kind, **words))
