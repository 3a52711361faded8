"""Vocabularies of llama.cpp: which model each kind becomes, scores by rank, and what is refused."""

import dataclasses
import json
from typing import Any

import pytest

from clearhead.errors import ModelError
from clearhead.export.gguf_tokenizer import BYTE, CONTROL, NORMAL, UNKNOWN, vocabulary
from clearhead.text.adopted import Adopted
from clearhead.text.special import SpecialIds
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


BERT = {
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "the": 5, "cat": 6, "##s": 7},
    },
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
}
GPT2 = {
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE",
        "unk_token": None,
        "merges": [["t", "h"], ["th", "e"]],
        "vocab": {"<|endoftext|>": 0, "t": 1, "h": 2, "e": 3, "th": 4, "the": 5},
    },
    "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
}


def adopted(tree: dict[str, Any], ids: SpecialIds, rows: int = 8) -> Tokenizer:
    special = [
        {"id": index, "content": piece, "special": True, "single_word": False}
        | {"lstrip": False, "rstrip": False, "normalized": False}
        for piece, index in tree["model"]["vocab"].items()
        if piece.startswith(("[", "<"))
    ]
    content = json.dumps({"version": "1.0", "added_tokens": special, **tree})
    return Tokenizer.adopt(Adopted(content, ids, begin=ids.eos, begins=False, vocab_size=rows))


OF_BERT = SpecialIds(pad=0, bos=2, eos=3, unk=1, cls=2, sep=3, mask=4)


def test_an_uncased_berts_own_tokenizer_is_berts() -> None:
    words = vocabulary(adopted(BERT, OF_BERT))
    assert (words.model, words.pieces) == ("bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁the", "▁cat", "s"])
    assert words.types == [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL, NORMAL, NORMAL, NORMAL]
    assert words.settings["cls_token_id"] == 2


@pytest.mark.parametrize("merges", [["t h", "th e"], [["t", "h"], ["th", "e"]]])
def test_gpt2s_own_tokenizer_is_gpt2s(merges: list[Any]) -> None:
    tree = {**GPT2, "model": {**GPT2["model"], "merges": merges}}
    words = vocabulary(adopted(tree, SpecialIds(pad=-1, bos=0, eos=0, unk=-1), rows=8))
    assert (words.model, words.merges) == ("gpt2", ["t h", "th e"])
    assert words.pieces[5:] == ["the", "<no piece 6>", "<no piece 7>"]
    assert words.types == [CONTROL, *[NORMAL] * 5, CONTROL, CONTROL]


@pytest.mark.parametrize(
    ("tree", "part", "change", "rule"),
    [
        (BERT, "normalizer", {"lowercase": False}, "normalizer.lowercase = False: must be True"),
        (BERT, "normalizer", {"strip_accents": False}, "normalizer.strip_accents = False: must be None or True"),
        (
            BERT,
            "pre_tokenizer",
            {"type": "Whitespace"},
            "pre_tokenizer.type = 'Whitespace': must be 'BertPreTokenizer'",
        ),
        (GPT2, "pre_tokenizer", {"add_prefix_space": True}, "pre_tokenizer.add_prefix_space = True: must be False"),
        (GPT2, "normalizer", {"type": "NFC"}, "normalizer.type = 'NFC': must be None"),
    ],
)
def test_another_tokenizer_from_elsewhere_is_refused(
    tree: dict[str, Any], part: str, change: dict[str, Any], rule: str
) -> None:
    changed = {**tree, part: {**(tree[part] or {}), **change}}
    ids = OF_BERT if tree is BERT else SpecialIds(pad=-1, bos=0, eos=0, unk=-1)
    with pytest.raises(ModelError, match=f"^GGUF: tokenizer.json: {rule}"):
        vocabulary(adopted(changed, ids))


def test_marians_files_are_refused() -> None:
    tokenizer = adopted(BERT, OF_BERT)
    assert isinstance(tokenizer.source, Adopted)
    of_marian = dataclasses.replace(tokenizer.source, segmenter="x")
    tokenizer.source = of_marian
    with pytest.raises(ModelError, match="Marian's files"):
        vocabulary(tokenizer)
