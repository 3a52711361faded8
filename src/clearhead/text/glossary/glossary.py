"""A glossary, and which of its entries occur in a text: by word, the longest first."""

import functools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clearhead.text.glossary.entries import Entry, checked_entries, plain, read_entries

# first words of the Unicode names of letters that are written without spaces between words, or, as Hangul, with endings
# that are written on to them
_UNSPACED = frozenset(
    "CJK IDEOGRAPHIC HIRAGANA KATAKANA HALFWIDTH BOPOMOFO YI NUSHU HANGUL THAI LAO KHMER MYANMAR TIBETAN JAVANESE "
    "BALINESE".split()
)


class Glossary:
    """Entries whose targets must be in the translations of texts that have their sources.

    A source occurs as whole words: no letter, digit or accent stands beside it, but where it begins or ends with a
    script that has no spaces between words (Chinese, Japanese, Thai, ...), or with Hangul. Where several begin at one
    place the longest is taken, and what stands inside of it is not looked at again. A source without capitals occurs in
    any; one with capitals as it is, or all in capitals.

    Args:
        entries: one or more, with different sources.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._by_source: dict[str, list[Entry]] = {}
        lengths: dict[str, set[int]] = {}
        for entry in self.entries:
            folded = entry.source.casefold()
            self._by_source.setdefault(folded, []).append(entry)
            lengths.setdefault(folded[0], set()).add(len(folded))
        self._lengths = {first: sorted(sizes, reverse=True) for first, sizes in lengths.items()}
        """By the first character of sources: how long these are, the longest first."""

    def __repr__(self) -> str:
        return f"Glossary({len(self.entries)} entries)"

    @classmethod
    def read(cls, path: str | Path) -> "Glossary":
        """Reads a file, whose lines are a source, a tab and a target; see ``read_entries`` for what is wrong."""
        return cls(read_entries(Path(path)))

    @classmethod
    def of(cls, rows: Iterable[Sequence[str]], where: str = "glossary") -> "Glossary":
        """Returns the glossary of pairs of a source and a target; raises DataError as ``parse_entries`` does."""
        return cls(checked_entries(rows, where, row="entry"))

    def found(self, text: str) -> list[Entry]:
        """Returns the entries that occur in a text, in their order there, each once."""
        text = plain(text)
        folded = [character.casefold() for character in text]
        whole = "".join(folded)
        place = [number for number, signs in enumerate(folded) for _ in signs]  # in text, of each sign of ``whole``
        entries, at = dict[Entry, None](), 0
        while at < len(whole):
            entry, end = self._longest(text, whole, place, at)
            if entry is not None:
                entries[entry] = None
            at = end
        return list(entries)

    def _longest(self, text: str, whole: str, place: list[int], at: int) -> tuple[Entry | None, int]:
        """Returns the longest entry that begins at a sign, if there is one, and where to look on."""
        begin = place[at]
        if not (at and place[at - 1] == begin) and (not begin or _parts(text[begin - 1], text[begin])):
            for length in self._lengths.get(whole[at], ()):
                end = at + length
                entries = self._by_source.get(whole[at:end])
                if not entries or end > len(whole) or not _ends(text, place, end):
                    continue
                if entry := _as_written(entries, text[begin : place[end - 1] + 1]):
                    return entry, end
        return None, at + 1


GlossaryLike = Glossary | Mapping[str, str] | str | Path
"""A glossary, targets by their sources, or the file of one."""


def glossary_of(given: GlossaryLike | None) -> Glossary | None:
    """Returns what is given as a glossary; raises DataError if its entries cannot be used."""
    if given is None or isinstance(given, Glossary):
        return given
    return Glossary.of(given.items()) if isinstance(given, Mapping) else Glossary.read(given)


def _ends(text: str, place: list[int], end: int) -> bool:
    """Whether a word may end before a sign, of which ``place`` says where it is in the text."""
    last = place[end - 1]
    whole_character = end == len(place) or place[end] != last
    return whole_character and (last + 1 == len(text) or _parts(text[last], text[last + 1]))


def _as_written(entries: Sequence[Entry], written: str) -> Entry | None:
    """Returns the entry whose capitals fit those of a text, the one that is written so before others."""
    fitting = [each for each in entries if _fits(each.source, written)]
    return next((each for each in fitting if each.source == written), next(iter(fitting), None))


def _fits(source: str, written: str) -> bool:
    return source == source.lower() or written in (source, source.upper())


def _parts(left: str, right: str) -> bool:
    """Whether a word may end and another begin between two characters."""
    if unicodedata.category(right).startswith("M"):
        return False  # a mark belongs to the letter before it
    return not (_in_word(left) and _in_word(right))


@functools.lru_cache(1 << 14)
def _in_word(character: str) -> bool:
    """Whether a character is one of a word that needs a border."""
    if not (character.isalnum() or unicodedata.category(character).startswith("M")):
        return False
    return unicodedata.name(character, "").split(" ")[0].split("-")[0] not in _UNSPACED
