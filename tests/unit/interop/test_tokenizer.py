"""Tokenizers of folders: adopted ones give the ids of their library, and their library gives the ids of ours."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Theirs

from clearhead.data.segments import collate_segments
from clearhead.errors import ModelError
from clearhead.interop.tokenizer import read_tokenizer, write_tokenizer
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.special import ABSENT, SpecialIds
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.foreign import LINES, byte_level, wordpiece, write_gpt2, write_llama

TEXTS = [*LINES, "", " ", "  two  spaces", "a\nline", "Ａ，。「我」 Straße ÀÉ", "</s><pad>"]


def test_gpt2(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_gpt2(tmp_path), {}, 300)
    assert tokenizer.ids == SpecialIds(pad=ABSENT, bos=ABSENT, eos=0, unk=ABSENT)
    assert (tokenizer.begin, tokenizer.begins) == (0, False)


def test_llama_begins_every_text(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_llama(tmp_path), {}, 272)
    assert tokenizer.ids == SpecialIds(pad=ABSENT, bos=1, eos=2, unk=0)
    assert (tokenizer.begin, tokenizer.begins) == (1, True)


def test_the_config_names_what_the_files_do_not(tmp_path: Path) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path, {"eos_token_id": [0, 7], "pad_token_id": 9}, 300).ids.eos == 0
    assert read_tokenizer(tmp_path, {"eos_token_id": 300, "pad_token_id": 9}, 300).ids == SpecialIds(9, *[ABSENT] * 6)


def test_older_files(tmp_path: Path) -> None:
    """Folders from before tokenizer.json: vocab.json and merges.txt, or vocab.txt."""
    theirs = byte_level()
    theirs.model.save(str(tmp_path))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<|endoftext|>"}}))
    ours = read_tokenizer(tmp_path, {}, 300)
    assert ours.ids.eos == 0
    assert ours.encode_batch(TEXTS[:2]) == [encoding.ids for encoding in theirs.encode_batch(TEXTS[:2])]
    for file in tmp_path.iterdir():
        file.unlink()
    words = wordpiece()
    words.no_truncation()
    words.no_padding()
    words.model.save(str(tmp_path))
    ours = read_tokenizer(tmp_path, {}, 120)
    assert ours.encode(LINES[0]) == words.encode(LINES[0]).ids
    assert ours.pieces([0, 4]) == ["[PAD]", "[MASK]"]


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no tokenizer: tokenizer.json, vocab.json with merges.txt, or vocab.txt"):
        read_tokenizer(tmp_path, {}, 300)
    (tmp_path / "vocab.json").write_text("{")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ModelError, match="the tokenizer's files cannot be read"):
        read_tokenizer(tmp_path, {}, 300)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {}, "merges": []}, "normalizer": 1}')
    with pytest.raises(ModelError, match=r"tokenizer.json: normalizer is not a table"):
        read_tokenizer(tmp_path, {}, 300)


@pytest.mark.parametrize("kind", ["char", "byte_bpe", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normalization": "nfkc", "lowercase": True},
        {"normalization": "halfwidth"},
        {"tags": ("de",), "marks": ("ctx",)},
    ],
    ids=str,
)
def test_ours_gives_the_same_ids_there(kind: TokenizerKind, settings: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    config = TokenizerConfig(kind=kind, vocab_size=400, min_frequency=1, **settings)
    ours = Tokenizer.train(TEXTS * 2, config)
    files = write_tokenizer(ours, template="plain")
    theirs = Theirs.from_str(files["tokenizer.json"])
    theirs.encode_special_tokens = True
    for text in TEXTS:
        ids = ours.encode(text)
        assert theirs.encode(text).ids == ids, text
        assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(ids).replace("\ufffd", "")
    settings_file = json.loads(files["tokenizer_config.json"])
    assert settings_file["eos_token"].strip() == "</s>"
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(TEXTS)["input_ids"] == ours.encode_batch(TEXTS)
    shown = [ours.decode(ids).replace("\ufffd", "") for ids in ours.encode_batch(TEXTS)]
    assert loaded.batch_decode(ours.encode_batch(TEXTS), skip_special_tokens=True) == shown
    back = read_tokenizer(tmp_path, {}, ours.vocab_size)
    assert back.ids == ours.ids
    assert back.encode_batch(TEXTS) == ours.encode_batch(TEXTS)
    for index in range(ours.vocab_size):
        # outer spaces are not compared: their decoder drops some
        assert back.spelling(index).strip() == ours.spelling(index).replace(b"\xef\xbf\xbd", b"").strip()


def test_words_are_joined_there_as_here() -> None:
    """Marks, brackets, apostrophes, hyphens and Chinese; and a text that begins inside of a word."""
    lines = [*LINES, "don't (well-known) “quotes”, it's 5% [x]; a/b!", "state-of-the-art - dash", "他说：「好。」ok"]
    ours = Tokenizer.train(lines * 2, TokenizerConfig(kind="wordpiece", vocab_size=200, min_frequency=1))
    theirs = Theirs.from_str(write_tokenizer(ours, template="end")["tokenizer.json"])
    texts = [ours.encode(line) for line in lines]
    for ids in [*texts, *(ids[1:] for ids in texts), *([index] for index in range(4, ours.vocab_size))]:
        assert theirs.decode(ids) == ours.decode(ids)


def test_gpt2s_rule_of_words_goes_along(tmp_path: Path) -> None:
    """As transformers cuts, and there and back; the file of a tokenizer by our own rule is as it was."""
    from transformers import AutoTokenizer

    lines = [*LINES, "I don't; they'll: 5 tests", "e\u0301 we’ve"]
    ours = Tokenizer.train(lines * 2, TokenizerConfig(vocab_size=320, words="gpt2"))
    for name, content in write_tokenizer(ours, template="plain").items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert AutoTokenizer.from_pretrained(tmp_path)(lines)["input_ids"] == ours.encode_batch(lines)
    assert read_tokenizer(tmp_path, {}, ours.vocab_size).encode_batch(lines) == ours.encode_batch(lines)
    ours.save(tmp_path / "own.json")
    again = Tokenizer.load(tmp_path / "own.json")
    assert (again.config.words, again.encode_batch(lines)) == ("gpt2", ours.encode_batch(lines))
    plain = Tokenizer.train(lines * 2, TokenizerConfig(vocab_size=320))
    assert plain.encode_batch(lines) != ours.encode_batch(lines)
    assert b"words" not in plain.content()


def test_an_end_mark_before_every_text() -> None:
    ours = Tokenizer.train(LINES, TokenizerConfig(vocab_size=300))
    theirs = Theirs.from_str(write_tokenizer(ours, template="begin")["tokenizer.json"])
    assert theirs.encode("an apple").ids == [2, *ours.encode("an apple")]


@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece"])
def test_segments_stand_between_their_marks(kind: TokenizerKind, tmp_path: Path) -> None:
    """As rows of training are laid out, and as gaps are filled: ids, segments and special pieces."""
    from transformers import AutoTokenizer

    config = TokenizerConfig(kind=kind, vocab_size=420, min_frequency=1, specials="masked")
    ours = Tokenizer.train(TEXTS * 2, config)
    for name, content in write_tokenizer(ours, template="segments", masks=True).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    theirs, ids = AutoTokenizer.from_pretrained(tmp_path), ours.ids
    texts = ["", LINES[0], LINES[1], "  two  spaces", "well-known"]
    for first, second in pairwise(texts):
        a, b = ours.encode(first), ours.encode(second)
        laid = collate_segments([a], [b], special=ids)
        both, one = theirs(first, second), theirs(first)
        assert both["input_ids"] == laid.ids[0].tolist()
        assert both["token_type_ids"] == laid.segments[0].tolist()
        assert one["input_ids"] == collate_segments([a], None, special=ids).ids[0].tolist()
        assert set(one["token_type_ids"]) == {0}
    found = {role: getattr(theirs, f"{role}_token_id") for role in ("pad", "bos", "eos", "unk", "cls", "sep", "mask")}
    assert found == vars(ids)
    hidden = [ids.cls, *ours.encode("an"), ids.mask, *ours.encode_batch([" pp"], inside=True)[0], ids.sep]
    assert theirs("an [MASK] pp")["input_ids"] == hidden, "a space before a mask belongs to it"
    assert theirs.decode([ids.cls, *ours.encode("an pp"), ids.sep], skip_special_tokens=True) == "an pp"
    back = read_tokenizer(tmp_path, {}, ours.vocab_size)
    assert back.ids == ids
    assert back.encode_batch(texts) == ours.encode_batch(texts)


def test_an_adopted_one_is_written_as_it_came(tmp_path: Path) -> None:
    adopted = read_tokenizer(write_gpt2(tmp_path), {}, 300)
    files = write_tokenizer(adopted, template="plain")
    assert files["tokenizer.json"] == (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    assert json.loads(files["tokenizer_config.json"])["eos_token"] == "<|endoftext|>"
