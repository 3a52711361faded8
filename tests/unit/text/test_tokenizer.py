"""Tokenizers: what goes in comes out, nothing in a text is special, and a file is ours or refused."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.config import parse
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.text.normalize import Normalization
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.special import SPECIALS
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.limits import HANGS

LINES = [
    "我吃了一个苹果。",
    "他们在吃苹果，你呢？",
    "He eats an apple, don't you?",
    "a well-known apple (red) </s> <pad>x</s>",
    "<unk><s>",
] * 4
KINDS: list[TokenizerKind] = ["char", "byte_bpe", "bpe", "wordpiece", "unigram"]
TRAINED = {kind: Tokenizer.train(LINES, TokenizerConfig(kind=kind, vocab_size=400)) for kind in KINDS}
NASTY = [
    "",
    " ",
    "  a  b ",
    "\x00",
    "\ufeffa",
    "👩‍👩‍👧",
    "a\r\n\tb",
    "\u3000我",
    "▁",
    "Ġ",
    "e\u0301",
    "##a",
    "\U0010ffff",
]


@given(st.text())
@settings(max_examples=300)
def test_byte_bpe_is_lossless(text: str) -> None:
    tokenizer = TRAINED["byte_bpe"]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert min(ids, default=4) >= 4
    assert tokenizer.count_unknown(ids) == 0


@pytest.mark.parametrize("text", NASTY)
def test_byte_bpe_is_lossless_on_nasty_text(text: str) -> None:
    tokenizer = TRAINED["byte_bpe"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    dropping = Tokenizer(TokenizerConfig(vocab_size=400, dropout=0.5), tokenizer.source)
    assert tokenizer.decode(dropping.encode_with_dropout(text, np.random.default_rng(0))) == text


@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "unigram", "wordpiece", "char"])
def test_a_text_inside_another_begins_no_word_by_itself(kind: TokenizerKind) -> None:
    tokenizer = Tokenizer.train(["the cat is the cats"] * 9, TokenizerConfig(kind=kind, vocab_size=400))
    for text in (" is", "is the"):
        (inside,) = tokenizer.encode_batch([text], inside=True)
        spelled = b"".join(tokenizer.spelling(index) for index in inside).decode()
        assert spelled.lstrip() == text.lstrip()
        assert spelled.startswith(" ") == (text.startswith(" ") or kind == "wordpiece")


@pytest.mark.parametrize("kind", ["char", "bpe", "unigram"])
@given(text=st.text(alphabet=st.sampled_from(sorted({*"".join(LINES)}))))
def test_other_kinds_lose_nothing_they_know(kind: TokenizerKind, text: str) -> None:
    tokenizer = TRAINED[kind]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    "text", ["我吃了一个苹果。", "He eats an apple, don't you?", "a well-known apple (red)", "他 apple"]
)
def test_wordpiece_brings_spaces_back_by_rule(text: str) -> None:
    tokenizer = TRAINED["wordpiece"]
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("他 ", "他")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*SPECIALS, "a</s>", "</s> a", " </s>", " <pad> <unk>", "x<s><pad>x</s>"])
def test_text_never_becomes_a_special_piece(kind: TokenizerKind, text: str) -> None:
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode(text)
    assert ids
    assert min(ids) >= 4
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_ids_decode(kind: TokenizerKind, data: st.DataObject) -> None:
    tokenizer = TRAINED[kind]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    text = tokenizer.decode(ids)
    text.encode()
    assert text == tokenizer.decode([1, *(i for i in ids if i > 2), 2, 0])
    assert len(tokenizer.pieces(ids)) == len(ids)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    tokenizer = TRAINED["byte_bpe"]
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(DataError, match=str(wrong)):
            tokenizer.decode([5, wrong])


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_one_by_one_and_empty_is_empty(kind: TokenizerKind) -> None:
    tokenizer = TRAINED[kind]
    texts = [*LINES[:5], "", *NASTY]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode("") == []
    assert tokenizer.encode_batch([]) == []


def test_pieces_are_readable() -> None:
    tokenizer = TRAINED["byte_bpe"]
    assert "".join(tokenizer.pieces(tokenizer.encode("我吃 a\n"))) == "我吃▁a<0x0A>"
    assert tokenizer.pieces(tokenizer.encode("鑫")) == ["<0xE9>", "<0x91>", "<0xAB>"]
    assert tokenizer.pieces([0, 1, 2, 3]) == list(SPECIALS)
    assert "▁apple" in TRAINED["bpe"].pieces(TRAINED["bpe"].encode("an apple"))


@pytest.mark.parametrize("kind", ["char", "bpe", "wordpiece", "unigram"])
def test_unknown_text_is_counted_and_shown(kind: TokenizerKind) -> None:
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode("我鑫")
    assert tokenizer.count_unknown(ids) == 1
    assert tokenizer.decode(ids) == "我\ufffd"


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "unigram"])
def test_very_long_text(kind: TokenizerKind) -> None:
    tokenizer = TRAINED[kind]
    for text in ("苹果" * 200_000, "an apple " * 50_000, " " * 200_000):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    ("mode", "text", "seen"),
    [
        ("halfwidth", "Ａ，我。", "a,我."),
        ("nfkc", "ﬁ①", "fi1"),
        ("nfc", "E\u0301", "é"),
        ("none", "ＡB", "ａb"),
    ],
)
def test_normalization_and_lower_case(mode: Normalization, text: str, seen: str) -> None:
    tokenizer = Tokenizer.train(LINES, TokenizerConfig(vocab_size=300, normalization=mode, lowercase=True))
    assert tokenizer.config.normalize(text) == seen
    assert tokenizer.decode(tokenizer.encode(text)) == seen


@pytest.mark.parametrize("kind", KINDS)
def test_bad_lines_are_named(kind: TokenizerKind) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=300)
    with pytest.raises(DataError, match=r"line 2: .* position 1"):
        Tokenizer.train(iter(["a", "b\ud800"]), config)
    for nothing in ([], ["", ""]):
        with pytest.raises(DataError, match="no text"):
            Tokenizer.train(nothing, config)
    with pytest.raises(DataError, match="position 0"):
        TRAINED[kind].encode("\udc00")


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind: TokenizerKind, tmp_path: Path) -> None:
    tokenizer = TRAINED[kind]
    tokenizer.save(tmp_path / "t.json")
    loaded = Tokenizer.load(str(tmp_path / "t.json"))
    for other in (loaded, pickle.loads(pickle.dumps(tokenizer))):
        assert other.config == tokenizer.config
        assert other.fingerprint == tokenizer.fingerprint
        assert other.encode_batch(LINES + NASTY) == tokenizer.encode_batch(LINES + NASTY)
    assert loaded.vocab_size == tokenizer.vocab_size


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("kind", ["char", "byte_bpe", "bpe", "wordpiece"])
def test_training_twice_gives_the_same_file(kind: TokenizerKind, shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "tatoeba-zh-en" / "train.zh").read_text("utf-8").split("\n")[:1500] + LINES
    for name in "ab":
        Tokenizer.train((x for x in lines), TokenizerConfig(kind=kind, vocab_size=900)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_real_text_comes_back(shared_data: Path) -> None:
    for name in ("tatoeba-zh-en/train.zh", "captions-zh-en/valid.zh", "multi30k-en-de/val.de"):
        lines = (shared_data / name).read_text("utf-8").split("\n")[:2000]
        tokenizer = Tokenizer.train(lines[::3], TokenizerConfig(vocab_size=1000))
        assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(lines)] == lines


def test_dropout_is_reproducible_and_keeps_the_text() -> None:
    tokenizer = Tokenizer(TokenizerConfig(vocab_size=400, dropout=0.3), TRAINED["byte_bpe"].source)
    first, again, other = (
        [tokenizer.encode_with_dropout(x, rng) for x in LINES] for rng in map(np.random.default_rng, (1, 1, 2))
    )
    assert first == again
    assert first != other
    assert sum(map(len, first)) > sum(map(len, tokenizer.encode_batch(LINES)))
    assert [tokenizer.decode(ids) for ids in first] == LINES


def test_configs_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="kind must be byte_bpe or bpe"):
        TokenizerConfig(kind="char", dropout=0.1)
    with pytest.raises(ValueError, match="words = 'gpt2': kind must be byte_bpe"):
        TokenizerConfig(kind="bpe", words="gpt2")
    with pytest.raises(ValueError, match="260"):
        TokenizerConfig(vocab_size=100)
    with pytest.raises(UsageError, match="dropout"):
        parse(TokenizerConfig, {"dropout": 1.0}, source="recipe")
    with pytest.raises(UsageError, match="char"):
        TRAINED["char"].encode_with_dropout("a", np.random.default_rng(0))


def damaged(content: str) -> dict[str, str]:
    tree = json.loads(content)

    def having(**edits: object) -> str:
        return json.dumps({**tree, **edits})

    learned, config = tree["learned"], tree["config"]
    return {
        "empty": "",
        "half": content[: len(content) // 2],
        "deep": "[" * 100_000,
        "number": "9" * 5000,
        "list": "[]",
        "foreign": '{"model": {"type": "BPE"}, "pre_tokenizer": null}',
        "version": having(version=2),
        "extra": having(pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}}),
        "kind": having(config={**config, "kind": "magic"}),
        "other kind": having(config={**config, "kind": "unigram"}),
        "twice": having(learned={**learned, "pieces": [*learned["pieces"], "a"]}),
        "lost": having(learned={**learned, "pieces": learned["pieces"][:100]}),
        "types": having(learned={**learned, "pieces": [1, None]}),
        "merges": having(learned={**learned, "merges": [["a"]]}),
        "merges of nothing": having(learned={**learned, "merges": [["a", "Ж"]]}),
        "surrogate": having(learned={**learned, "pieces": [*learned["pieces"], "\ud800"]}),
    }


CONTENT = TRAINED["byte_bpe"].content().decode()


@pytest.mark.parametrize("case", damaged(CONTENT))
def test_damaged_files_are_refused_by_name(case: str, tmp_path: Path) -> None:
    path = tmp_path / "tok.json"
    path.write_text(damaged(CONTENT)[case], encoding="utf-8")
    with pytest.raises(ModelError, match=r"tok\.json.*damaged") as caught:
        Tokenizer.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_never_raises_anything_else(kind: TokenizerKind, tmp_path: Path) -> None:
    content, draw, path = TRAINED[kind].content(), random.Random(0), tmp_path / "t.json"
    for _ in range(60):
        edited = bytearray(content)
        for _ in range(draw.choice((1, 1, 5))):
            edited[draw.randrange(len(edited))] = draw.randrange(256)
        path.write_bytes(edited)
        try:
            tokenizer = Tokenizer.load(path)
        except ModelError:
            continue
        tokenizer.decode(tokenizer.encode("an apple 我吃了"))


def test_missing_and_unwritable_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="cannot be written"):
        TRAINED["char"].save(tmp_path / "no" / "folder")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("given", [{}, {"TOKENIZERS_PARALLELISM": "true"}])
def test_forked_worker_neither_hangs_nor_warns(given: dict[str, str]) -> None:
    code = """
import os
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
tokenizer = Tokenizer.train(["an apple"] * 50, TokenizerConfig(vocab_size=300))
ids = tokenizer.encode_batch(["an apple"] * 3000)
child = os.fork()
if child == 0:
    os._exit(0 if tokenizer.encode_batch(["an apple"] * 3000) == ids else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    env = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"} | given
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", KINDS)
def test_masked_vocabularies_have_three_special_pieces_more(kind: TokenizerKind, tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(LINES, TokenizerConfig(kind=kind, vocab_size=400, specials="masked"))
    plain, ids = TRAINED[kind], tokenizer.ids
    assert (ids.cls, ids.sep, ids.mask) == (4, 5, 6)
    assert tokenizer.pieces([ids.cls, ids.sep, ids.mask]) == ["[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.decode([ids.cls, *tokenizer.encode("an apple"), ids.sep]) == "an apple"
    assert not {*tokenizer.encode("[MASK] </s>")} & {*ids.never} - {ids.unk}
    assert [tokenizer.spelling(index) for index in range(7)] == [b""] * 3 + [plain.spelling(3)] + [b""] * 3
    tokenizer.save(tmp_path / "text.json")
    assert Tokenizer.load(tmp_path / "text.json").ids == ids


def test_an_adopted_kind_cannot_be_trained() -> None:
    with pytest.raises(UsageError, match=r"tokenizer.kind = 'adopted': comes with a model from elsewhere"):
        Tokenizer.train(LINES, TokenizerConfig(kind="adopted"))


def test_a_text_that_gives_fewer_pieces_says_so() -> None:
    assert TRAINED["char"].size() == f"{TRAINED['char'].vocab_size} pieces (of 400 asked for: the text gives no more)"
    assert Tokenizer.train(LINES, TokenizerConfig(vocab_size=262)).size() == "262 pieces"


def test_a_border_is_between_characters() -> None:
    plain = Tokenizer.train(["b"], TokenizerConfig(kind="byte_bpe", vocab_size=260))
    ids = plain.encode("a我bé")
    assert [plain.border(ids, at) for at in range(len(ids) + 1)] == [0, 1, 1, 1, 4, 5, 5, 7]
    assert [plain.border(ids, at, later=True) for at in range(len(ids) + 1)] == [0, 1, 4, 4, 4, 5, 6, 7]
    inside = ids[2:4]
    assert [plain.border(inside, at) for at in range(3)] == [0, 1, 2], "where there is no character, anywhere"
