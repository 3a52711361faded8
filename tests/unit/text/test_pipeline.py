"""What training learns fits its pipeline, is the same every time, and never holds more than it may."""

import subprocess
import sys

import pytest

from clearhead.text.pipeline import BYTE_CHARS, Learned, TokenizerKind, build, learn
from clearhead.text.special import SPECIALS

LINES = ["我吃了一个苹果。", "he eats an apple, don't you?", "他们吃苹果", "an apple </s> a day"] * 5
KINDS: list[TokenizerKind] = ["char", "byte_bpe", "bpe", "wordpiece", "unigram"]


def learned_from(lines: list[str], kind: TokenizerKind, vocab_size: int, *, least: int = 2) -> Learned:
    return learn(lines, kind, specials=SPECIALS, vocab_size=vocab_size, min_frequency=least)


@pytest.mark.parametrize(
    ("kind", "vocab_size"),
    [(kind, size) for kind in KINDS for size in (8, 11, 40, 270) if kind != "byte_bpe" or size > 260],
)
def test_never_more_than_vocab_size(kind: TokenizerKind, vocab_size: int) -> None:
    learned = learned_from(LINES, kind, vocab_size)
    learned.check(kind)
    assert build(kind, learned, SPECIALS).get_vocab_size() == 4 + len(learned.pieces) <= vocab_size


def test_rare_characters_get_no_piece() -> None:
    assert "罕" not in learned_from([*LINES, "罕见"], "char", 300).pieces
    assert "罕" in learned_from([*LINES, "罕见"], "char", 300, least=1).pieces


def test_pieces_do_not_bridge_characters_without_one() -> None:
    learned = learned_from(["ab罕cd", "ab稀cd", "ab少cd"], "bpe", 300)
    assert "ab" in learned.pieces
    assert not any("bc" in piece for piece in learned.pieces)


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("kind", ["char", "byte_bpe", "bpe", "wordpiece"])
def test_same_text_same_pieces_in_another_process(kind: TokenizerKind) -> None:
    # another process has other hash seeds, which is where the library's chance comes from
    sizes = f"specials={SPECIALS!r}, vocab_size=300, min_frequency=2"
    code = f"from clearhead.text.pipeline import learn; print(learn({LINES!r}, {kind!r}, {sizes}))"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)]
    assert runs[0] == runs[1] != b""


def test_byte_characters_are_the_librarys() -> None:
    from tokenizers import pre_tokenizers

    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "".join(map(chr, range(1, 0x800))) + "我\U0001f600"
    assert "".join(word for word, _ in cut.pre_tokenize_str(text)) == "".join(BYTE_CHARS[b] for b in text.encode())
    assert len(set(BYTE_CHARS)) == 256


@pytest.mark.parametrize(
    ("kind", "learned"),
    [
        ("char", Learned(["a", "a"])),
        ("char", Learned([""])),
        ("char", Learned(["\ud800"])),
        ("bpe", Learned([" </s>"])),
        ("byte_bpe", Learned(BYTE_CHARS[1:])),
        ("byte_bpe", Learned([*BYTE_CHARS, "我"])),
        ("bpe", Learned(["a", "b"], [("a", "b")])),
        ("unigram", Learned(["a"], scores=[float("nan")])),
        ("unigram", Learned(["a", "b"], scores=[-1.0])),
    ],
)
def test_what_does_not_fit_is_refused(kind: TokenizerKind, learned: Learned) -> None:
    with pytest.raises(ValueError, match=r"must be|surrogates"):
        learned.check(kind)


def test_words_by_gpt2s_rule_are_those_of_their_library() -> None:
    """Apostrophes, digits, marks, spaces and other scripts: the pieces of words and the ids of transformers."""
    from transformers import GPT2Tokenizer

    texts = ["I don't, they'll; we’ve 12 tests!", "  two  spaces\tand\n\nlines ", "Ａ，。「我」 Straße ÀÉ e\u0301", ""]
    learned = learn(texts * 3, "byte_bpe", specials=SPECIALS, vocab_size=400, min_frequency=2, words="gpt2")
    ours = build("byte_bpe", learned, SPECIALS, "gpt2")
    plain = build("byte_bpe", learned, SPECIALS)
    vocab = {piece: index for index, piece in enumerate([*SPECIALS, *learned.pieces])}
    theirs = GPT2Tokenizer(vocab=vocab, merges=learned.merges)
    for text in texts:
        assert ours.encode(text, add_special_tokens=False).ids == theirs(text)["input_ids"]
        assert ours.decode(ours.encode(text).ids) == plain.decode(plain.encode(text).ids)
    assert [word for word, _ in ours.pre_tokenizer.pre_tokenize_str("don't")] == ["don", "'t"]
    assert [word for word, _ in plain.pre_tokenizer.pre_tokenize_str("don't")] == ["don't"]
