"""Phrases of users: whom they are for, what is refused, and that each tokenizer's pieces are understood."""

import pytest

from clearhead.errors import ClearheadError, DataError, UsageError
from clearhead.text.glossary.entries import Entry
from clearhead.text.phrase_book import Demand, PhraseBook, Phrases
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig, TokenizerKind

LINES = ["I ate two green apples.", "An apple, an applesauce!", "我吃了一个青苹果。", "Don't eat it."] * 4


def tokenizer_of(kind: TokenizerKind = "byte_bpe") -> Tokenizer:
    return Tokenizer.train(LINES, TokenizerConfig(kind=kind, vocab_size=300, normalization="halfwidth"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizer_of()


@pytest.fixture(scope="module")
def book(tokenizer: Tokenizer) -> PhraseBook:
    return PhraseBook(tokenizer)


def demands(
    book: PhraseBook, require: Phrases = (), avoid: Phrases = (), *, count: int = 1, prefix: str = "", room: int = 60
) -> list[Demand]:
    return book.demands(require, avoid, count=count, prefix=prefix, room=room)


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "char", "wordpiece", "unigram"])
def test_phrases_are_found_as_words_of_every_kind_of_pieces(kind: TokenizerKind) -> None:
    tokenizer = tokenizer_of(kind)
    book = PhraseBook(tokenizer)
    for phrase, there in [
        ("apple", [False, True, False, False]),
        ("green apples", [True, False, False, False]),
        ("I", [True, False, False, False]),
        ("An apple,", [False, True, False, False]),
        ("苹果", [False, False, True, False]),
        ("苹果。", [False, False, True, False]),
        ("Don't eat", [False, False, False, True]),
        (" it. ", [False, False, False, True]),
    ]:
        (demand,) = demands(book, [phrase])
        assert [demand.unmet([tokenizer.encode(line)]) == [] for line in LINES[:4]] == there, phrase
        (demand,) = demands(book, avoid=[phrase])
        assert demand.avoided is not None
        assert [demand.avoided.contains(tokenizer.encode(line)) for line in LINES[:4]] == there, phrase


def test_phrases_are_for_all_texts_or_for_each(book: PhraseBook) -> None:
    assert [list(demand.required) for demand in demands(book, ["apple", "it"], count=2)] == [["apple", "it"]] * 2
    each = demands(book, [["apple"], [], ["it", "apple"]], [["eat"], ["eat"], []], count=3)
    assert [list(demand.required) for demand in each] == [["apple"], [], ["it", "apple"]]
    assert [demand.avoided is None for demand in each] == [False, False, True]
    assert each[0].required["apple"] is each[2].required["apple"], "made once"
    assert [demand.pieces == 0 for demand in each] == [False, True, False]
    assert [list(demand.required) for demand in demands(book, "apple", count=2)] == [["apple"]] * 2, (
        "one, not its letters"
    )
    assert demands(book, count=2) == [Demand(), Demand()]


def test_what_is_unmet_is_in_no_part(book: PhraseBook, tokenizer: Tokenizer) -> None:
    (demand,) = demands(book, ["apple", "eat", "green"])
    assert demand.unmet([tokenizer.encode(line) for line in LINES[:2]]) == ["eat"]
    assert demand.unmet([]) == ["apple", "eat", "green"]
    assert demand.pieces >= 3


@pytest.mark.parametrize(
    ("require", "avoid", "error", "message"),
    [
        ([" "], [], UsageError, r"require ' ': a phrase must not be empty"),
        ([], ["it", ""], UsageError, r"avoid '': a phrase must not be empty"),
        ([["it"], ["it"]], [], UsageError, r"require: has phrases for 2 texts, there are 1"),
        (["apple " * 70], [], DataError, r"require 'apple apple.*': has \d+ pieces, at most 60 leave room for the end"),
        (["an apple"], ["apple"], DataError, r"require 'an apple': contains a phrase to avoid"),
        ([], ["sauce", "ate"], DataError, r"prefix 'I ate': contains a phrase to avoid"),
    ],
)
def test_what_cannot_be_is_refused(
    require: Phrases, avoid: Phrases, error: type[ClearheadError], message: str, book: PhraseBook
) -> None:
    with pytest.raises(error, match=message):
        demands(book, require, avoid, prefix="I ate")


def test_what_the_vocabulary_cannot_spell_is_refused() -> None:
    book = PhraseBook(tokenizer_of("char"))
    for name, given in (("require", {"require": ["an ☃"]}), ("avoid", {"avoid": ["an ☃"]})):
        with pytest.raises(DataError, match=f"{name} 'an ☃': has characters that are not in the model's vocabulary"):
            demands(book, **given)


def test_an_entry_is_met_by_any_of_its_forms(tokenizer: Tokenizer, book: PhraseBook) -> None:
    entries = [Entry("x", "apple|pear"), Entry("y", "two*"), Entry("z", "it")]
    found = book.terms(entries, avoided=None, room=20)
    assert list(found) == ["apple|pear", "two*", "it"]
    for text, met in [("An apple, eaten", 0), ("a pear", 0), ("Apple pie", 0), ("twofold", 1), ("It is", 2)]:
        ids = tokenizer.encode(text)
        assert [finder is not None and finder.contains(ids) for finder in found.values()] == [
            n == met for n in range(3)
        ]
    again = book.terms(entries[:1], avoided=None, room=20)
    assert again["apple|pear"] is found["apple|pear"], "made once"


def test_what_cannot_be_met_is_none_and_costs_no_line(book: PhraseBook) -> None:
    letters = PhraseBook(tokenizer_of("char"))
    entries = [Entry("x", "ж|apple"), Entry("y", "ж"), Entry("z", "I ate two green apples")]
    found = letters.terms(entries, avoided=None, room=20)
    assert [finder is None for finder in found.values()] == [False, True, True]
    assert letters.unspelled(entries) == ["ж"]
    (demand,) = demands(book, avoid=["apple"])
    left = book.terms([Entry("x", "apple|pear"), Entry("y", "an apple")], avoided=demand.avoided, room=20)
    assert [finder is None for finder in left.values()] == [False, True]
    assert left["apple|pear"] is not None
    assert not left["apple|pear"].contains(tokenizer_of().encode("apple"))
