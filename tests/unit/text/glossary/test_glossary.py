"""Which entries occur in a text: whole words, the longest first, capitals by their rule; as a slow search finds."""

import itertools
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.errors import DataError
from clearhead.text.glossary.entries import Entry
from clearhead.text.glossary.glossary import Glossary, glossary_of


def found(text: str, *sources: str) -> list[str]:
    return [entry.source for entry in Glossary(Entry(source, "x") for source in sources).found(text)]


@pytest.mark.parametrize(
    ("text", "sources", "expected"),
    [
        ("a cat.", ["cat"], ["cat"]),
        ("concat cats cat5 5cat", ["cat"], []),
        ("concat cat", ["cat"], ["cat"]),
        ("(cat)-cat's l'eau", ["cat", "eau"], ["cat", "eau"]),
        ("", ["cat"], []),
        ("ice \n\u00a0cream", ["ice cream"], ["ice cream"]),
        ("icecream", ["ice cream"], []),
        # the longest first, and not what is inside of it
        ("ice cream and cream", ["ice", "cream", "ice cream", "ice cream van"], ["ice cream", "cream"]),
        ("new york city hall", ["york city", "new york"], ["new york"]),
        ("日本人在日本", ["日本", "日本人"], ["日本人", "日本"]),
        # scripts without spaces, and what stands between them
        ("他用AI写书", ["AI", "写"], ["AI", "写"]),
        ("他用MAIN写书", ["AI"], []),
        ("ภาษาไทยง่าย", ["ไทย"], ["ไทย"]),
        ("학교에서", ["학교"], ["학교"]),
        ("हिन्दी", ["ह"], []),
        ("das Straßenfest", ["straße"], []),
        # accents in one or two characters
        ("cafe\u0301!", ["café"], ["café"]),
        ("cafe\u0301!", ["cafe"], []),
        # capitals
        ("Apple APPLE", ["apple"], ["apple"]),
        ("let us go to the US", ["US"], ["US"]),
        ("let us go", ["US"], []),
        ("polish Polish shoes", ["Polish", "polish"], ["polish", "Polish"]),
        ("POLISH", ["Polish"], ["Polish"]),
        ("Die STRASSE", ["Straße"], ["Straße"]),
        ("Die STRASSE", ["straße"], ["straße"]),
        ("das haus", ["Haus"], []),
        ("ΣΊΣΥΦΟΣ", ["σίσυφος"], ["σίσυφος"]),
    ],
)
def test_words_are_found(text: str, sources: list[str], expected: list[str]) -> None:
    assert found(text, *sources) == expected


def slowly(text: str, sources: list[str]) -> list[str]:
    """The same by regular expressions, for letters of ASCII, small sources and single spaces."""
    at, seen = 0, []
    while at < len(text):
        fits = [
            source
            for source in sorted(sources, key=len, reverse=True)
            if re.compile(r"(?<![0-9A-Za-z])" + re.escape(source) + r"(?![0-9A-Za-z])", re.IGNORECASE).match(text, at)
        ]
        seen += fits[:1]
        at += len(fits[0]) if fits else 1
    return list(dict.fromkeys(seen))


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "1"]), min_size=1, max_size=3).map(" ".join)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "B", "ab", "ba", " ", ".", "1"]), max_size=12), st.sets(WORDS, min_size=1))
def test_as_a_slow_search_finds_them(pieces: list[str], sources: set[str]) -> None:
    text = " ".join("".join(pieces).split())
    assert found(text, *sorted(sources)) == slowly(text, sorted(sources))


LETTERS = st.text(st.characters(categories=["L"]), min_size=1, max_size=4)


@settings(deadline=None)
@given(st.text(max_size=30), LETTERS)
def test_what_is_found_is_there_whatever_the_script(text: str, source: str) -> None:
    for each in found(text, source):
        assert each.casefold() in unicodedata.normalize("NFC", text).casefold()
    assert found(f"{text} {source} {text}", source) == [Entry(source, "x").source]


def test_large_glossaries_are_searched_by_what_begins_a_word() -> None:
    words = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=4)]
    glossary = Glossary(Entry(word, "x") for word in words)
    assert [entry.source for entry in glossary.found("jjjj x aaaa " + "hello " * 10_000)] == ["jjjj", "aaaa"]
    assert repr(glossary) == "Glossary(10000 entries)"


def test_what_may_stand_for_a_glossary(tmp_path: Path) -> None:
    path = tmp_path / "g.tsv"
    path.write_text("a\tb\n")
    whole = Glossary.read(path)
    assert glossary_of(None) is None
    assert glossary_of(whole) is whole
    for likewise in (path, str(path), {"a": "b"}):
        made = glossary_of(likewise)
        assert made is not None
        assert made.entries == (Entry("a", "b"),)
    with pytest.raises(DataError, match="glossary, entry 1: has an empty target"):
        glossary_of({"a": ""})
    with pytest.raises(DataError, match="glossary has 0 entries"):
        glossary_of({})
    with pytest.raises(DataError, match="entry 2: the source 'a' has another target on entry 1"):
        Glossary.of([("a", "b"), ("a ", "c")])
