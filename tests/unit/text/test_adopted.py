"""Tokenizers from elsewhere: the same ids as their own library, nothing special in a text, hostile files refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.errors import DataError, ModelError
from clearhead.text.adopted import Adopted
from clearhead.text.special import ABSENT, SpecialIds
from clearhead.text.tokenizer import Tokenizer
from tests.foreign import LINES, byte_fallback, byte_level, wordpiece


def adopt(pipeline: hf.Tokenizer, ids: SpecialIds, *, rows: int | None = None, **changes: Any) -> Tokenizer:
    tree = json.loads(pipeline.to_str()) | changes
    size = pipeline.get_vocab_size() if rows is None else rows
    return Tokenizer.adopt(Adopted(json.dumps(tree), ids, begin=ids.eos, begins=False, vocab_size=size))


GPT2 = SpecialIds(pad=ABSENT, bos=ABSENT, eos=0, unk=ABSENT)
BERT = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4, bos=2, eos=3)
LLAMA = SpecialIds(pad=ABSENT, unk=0, bos=1, eos=2)
BYTES = adopt(byte_level(), GPT2)


@pytest.mark.long
@given(st.text())
@settings(max_examples=200)
def test_bytes_come_back_as_they_were(text: str) -> None:
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text
    assert b"".join(map(BYTES.spelling, ids)) == text.encode()
    assert GPT2.eos not in ids, "text that spells a special piece is text"


def test_ids_are_those_of_the_library() -> None:
    for line in ["He eats an apple", "don't 12345", "我吃了一个苹果。"]:
        assert BYTES.encode(line) == byte_level().encode(line, add_special_tokens=False).ids


def test_nothing_is_cut_and_nothing_filled_up() -> None:
    theirs = wordpiece()
    assert len(theirs.encode(LINES[0], add_special_tokens=False).ids) == 16
    ours = adopt(theirs, BERT)
    theirs.no_truncation()
    theirs.no_padding()
    assert ours.encode(LINES[0]) == theirs.encode(LINES[0], add_special_tokens=False).ids
    assert len(ours.encode(LINES[0])) > 4
    assert not {*ours.encode(LINES[3])} & {BERT.mask, BERT.cls}
    assert ours.decode(ours.encode("an apple")) == "an apple"


def test_bytes_of_what_has_no_piece() -> None:
    ours = adopt(byte_fallback(), LLAMA)
    ids = ours.encode("a appa 我")
    assert ours.decode([LLAMA.bos, *ids, LLAMA.eos]) == "a appa 我"
    assert ours.pieces(ids)[0] == "▁a"
    assert b"".join(map(ours.spelling, ours.encode("a appa"))) == b" a appa"
    assert ours.spelling(LLAMA.eos) == b""


def test_rows_without_a_piece_are_named_so() -> None:
    ours = adopt(byte_level(), GPT2, rows=400)
    assert ours.vocab_size == 400
    assert ours.pieces([399]) == ["<no▁piece▁399>"]
    assert ours.decode([399]) == ""


def test_it_is_saved_whole(tmp_path: Path) -> None:
    ours = adopt(byte_level(), GPT2)
    ours.save(tmp_path / "text.json")
    loaded = Tokenizer.load(tmp_path / "text.json")
    assert loaded.fingerprint == ours.fingerprint
    assert loaded.ids == GPT2
    assert loaded.encode(LINES[1]) == ours.encode(LINES[1])
    with pytest.raises(DataError, match="id 300 is outside the vocabulary"):
        loaded.decode([300])


def replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def nested(depth: int) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "NFC"}
    for _ in range(depth):
        part = {"type": "Sequence", "normalizers": [part]}
    return part


def test_replacements_that_make_a_text_little_longer_are_right() -> None:
    rules = [replace(" ", "▁"), replace("``", '"'), replace("…", "..."), {"type": "Prepend", "prepend": "▁"}]
    assert adopt(byte_level(), GPT2, normalizer={"type": "Sequence", "normalizers": rules}).vocab_size


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": {"type": "Odd"}}, "model 'Odd' is not one of BPE"),
        ({"model": None}, "model is not a table"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}}, "normalizer 'Precompiled' is not one of"),
        (
            {
                "pre_tokenizer": {
                    "type": "Split",
                    "pattern": {"Regex": "(a+)+$"},
                    "behavior": "Isolated",
                    "invert": False,
                }
            },
            r"pre_tokenizer has a pattern that is not known to be safe: '\(a\+\)\+\$'",
        ),
        (
            {"decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"Regex": "x*"}}]}},
            "decoder has a pattern",
        ),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["b", "c"]]}}, "tokenizer.json cannot be read"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [replace("a", "a" * 100)] * 12}},
            r"normalizer may make a text 1e.24 times longer, more than 64",
        ),
        (
            {"decoder": {"type": "Sequence", "decoders": [replace("a", "a" * 9)] * 2}},
            "decoder may make a text 81 t",
        ),
        ({"normalizer": replace("", "a")}, "normalizer replaces nothing by something, everywhere"),
        ({"normalizer": {"type": "Prepend", "prepend": "a" * 9999}}, "normalizer adds more than 256 characters at a"),
        ({"model": {"type": "BPE", "end_of_word_suffix": "a" * 9999}}, "model adds more than 256 characters at a time"),
        ({"normalizer": nested(150)}, "tokenizer.json cannot be read"),
    ],
)
def test_what_is_not_known_to_be_safe_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        adopt(byte_level(), GPT2, **changes)


def test_more_ids_than_rows() -> None:
    with pytest.raises(ModelError, match="has id 299, the model's table has 200 rows"):
        adopt(byte_level(), GPT2, rows=200)
