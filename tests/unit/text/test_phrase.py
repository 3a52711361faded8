"""Phrases in pieces: found however the text is cut, as whole words, and how far they still are."""

import itertools
import re

import pytest

from clearhead.text.phrase import Automaton, Spellings
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig, TokenizerKind

EOS = 0
TEXTS = [
    "I ate an apple.",
    "Où est l'été? À Québec, peut-être.",
    "我吃了一个苹果。",
    "我爱 iPhone 手机！",
    "don't (stop) 24/7 😀",
]

NASTY = ["\ufffd", "a\x00\u3000b", "a  two", "Ġ\u200d"]


def over(*pieces: str | bytes) -> Spellings:
    """Pieces 1, 2, ...; 0 is the end mark."""
    return Spellings([b"", *(piece.encode() if isinstance(piece, str) else piece for piece in pieces)])


def find(phrase: str, *pieces: str) -> Automaton:
    return over(*pieces).automaton([phrase.encode()])


def occurs(phrases: list[str], text: str) -> bool:
    """What the automaton should say, by a search in the whole text."""
    word = "[0-9A-Za-z\u00c0-\u07ff]"

    def pattern(phrase: str) -> str:
        left = f"(?<!{word})" if re.match(word, phrase) else ""
        right = f"(?!{word})" if re.match(word, phrase[-1]) else ""
        return left + re.escape(phrase) + right

    return any(re.search(pattern(phrase), text) for phrase in phrases)


@pytest.mark.parametrize(
    ("phrases", "alphabet"),
    [
        (["aab"], "ab "),
        (["a a b", "b"], "ab "),
        (["++-"], "+-"),
        (["+-+-", "-+a"], "+-a"),
        (["é"], "éea "),
        (["果"], "果é+"),
    ],
)
def test_every_text_of_a_small_alphabet(phrases: list[str], alphabet: str) -> None:
    """Among them those in which a phrase breaks off with its own beginning: ++- in +++-, a a b in a a a b."""
    spelled = sorted({bytes([byte]) for char in alphabet for byte in char.encode()})
    automaton = over(*spelled).automaton([phrase.encode() for phrase in phrases])
    seen = set()
    for length in range(7):
        for chars in itertools.product(alphabet, repeat=length):
            ids = [1 + spelled.index(bytes([byte])) for byte in "".join(chars).encode()]
            expected = occurs(phrases, "".join(chars))
            assert automaton.contains(ids) is expected, chars
            assert automaton.contains([*ids, EOS]) is expected
            seen.add(expected)
    assert seen == {False, True}


@pytest.mark.parametrize(
    ("closed", "opened", "alphabet"), [(["b"], ["aab"], "ab "), ([], ["é", "a a"], "éa "), ([], ["果a"], "果a")]
)
def test_an_open_phrase_may_go_on(closed: list[str], opened: list[str], alphabet: str) -> None:
    """Its last word may have more letters; before it there is a border as before any."""
    spelled = sorted({bytes([byte]) for char in alphabet for byte in char.encode()})
    automaton = over(*spelled).automaton([each.encode() for each in closed], [each.encode() for each in opened])
    word, seen = "[0-9A-Za-z\u00c0-\u07ff]", set()
    for length in range(6):
        for chars in itertools.product(alphabet, repeat=length):
            text = "".join(chars)
            begins = [f"(?<!{word})" * bool(re.match(word, each)) + re.escape(each) for each in opened]
            expected = occurs(closed, text) or any(re.search(each, text) for each in begins)
            ids = [1 + spelled.index(bytes([byte])) for byte in text.encode()]
            assert automaton.contains(ids) is expected, text
            assert automaton.contains([*ids, EOS]) is expected
            seen.add(expected)
    assert seen == {False, True}


def test_no_segmentation_goes_unseen() -> None:
    pieces = ["+", "-", "++", "+-", "-+", "+-+", "--"]
    automaton, matched = find("+-+-", *pieces), set()
    for ids in itertools.product(range(1, len(pieces) + 1), repeat=4):
        text = "".join(pieces[index - 1] for index in ids)
        assert automaton.contains(ids) is ("+-+-" in text), text
        matched.add("+-+-" in text)
    assert matched == {False, True}


def test_left_counts_the_fewest_pieces_and_ways_lead_there() -> None:
    automaton = find("an apple", "an", " an", " apple", " app", "le", "s", " ", ".")

    def after(*ids: int) -> int:
        state = 0
        for index in ids:
            state = int(automaton.table[state, index])
        return state

    assert [int(automaton.left[after(*ids)]) for ids in ((), (1,), (1, 4), (1, 3), (1, 4, 1), (6,))] == [
        2,
        1,
        1,
        0,
        2,
        2,
    ]
    assert [automaton.ways[after(*ids)].tolist() for ids in ((), (1,), (1, 4), (1, 3))] == [[1, 2], [3], [5], []]
    assert automaton.ways[after(6)].tolist() == [2], "inside a word, its end comes first"
    assert not automaton.contains([1, 3, 6]), "an apples"
    assert after(1, 3, 8) == after(1, 3, 8, 6) == len(automaton.done) - 1
    stuck = find("a", "a")
    inside = stuck.table[stuck.table[0, 1], 1]
    assert stuck.left[inside] == len(stuck.done), "no piece ends a word"


@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "char", "wordpiece", "unigram"])
def test_spellings_are_what_a_tokenizer_adds(kind: TokenizerKind) -> None:
    tokenizer = Tokenizer.train(TEXTS * 3, TokenizerConfig(kind=kind, vocab_size=300))
    spellings = Spellings.of(tokenizer)
    assert len(spellings.pieces) == tokenizer.vocab_size
    assert spellings.pieces[:4] == [b""] * 4
    for text in [*TEXTS, *NASTY] if kind == "byte_bpe" else TEXTS:
        ids = tokenizer.encode(text)
        spelled = b"".join(spellings.pieces[index] for index in ids).decode()
        blank = " " if kind == "wordpiece" else "\0"  # whose spaces follow rules
        assert spelled.removeprefix(" ").replace(blank, "") == text.replace(blank, "")


def test_bytes_of_half_a_character_are_spelled() -> None:
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=270))
    every = Spellings.of(tokenizer).pieces
    assert {bytes([byte]) for byte in range(256)} <= set(every)
