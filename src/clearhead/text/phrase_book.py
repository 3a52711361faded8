"""Phrases that translations must or must not contain: checks them and prepares them for the search."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from clearhead.errors import DataError, UsageError
from clearhead.text.glossary.entries import Entry
from clearhead.text.phrase import Automaton, Spellings
from clearhead.text.tokenizer import Tokenizer

Phrases = str | Sequence[str] | Sequence[Sequence[str]]
"""A phrase or several for all texts; or a list for each text."""


@dataclass(frozen=True)
class Demand:
    """The phrases that one translation must and must not contain."""

    required: dict[str, Automaton] = field(default_factory=dict)
    """Each phrase that must occur, and the automaton that finds it."""
    avoided: Automaton | None = None
    """Finds any of the phrases that must not occur."""

    @property
    def pieces(self) -> int:
        """Fewest pieces that spell all required phrases."""
        return sum(int(automaton.left[0]) for automaton in self.required.values())

    @property
    def spelling(self) -> set[int]:
        """All pieces that bring a required phrase nearer, from wherever a text stands."""
        ways = [way for automaton in self.required.values() for way in automaton.ways]
        return {int(piece) for way in ways for piece in way}

    def unmet(self, parts: Sequence[Sequence[int]]) -> list[str]:
        """Returns the required phrases that occur in no part of a translation."""
        return [phrase for phrase, finder in self.required.items() if not any(map(finder.contains, parts))]


class PhraseBook:
    """Knows how a tokenizer's pieces spell phrases."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._spellings = tokenizer, Spellings.of(tokenizer)
        self._automaton = functools.lru_cache(maxsize=128)(self._spellings.automaton)

    def demands(self, require: Phrases, avoid: Phrases, *, count: int, prefix: str, room: int) -> list[Demand]:
        """Returns the demands on each of ``count`` translations.

        Args:
            require: phrases that must occur.
            avoid: phrases that must not.
            count: number of texts.
            prefix: text with which every translation begins.
            room: number of pieces that a translation may have after the prefix.

        Raises:
            UsageError: a phrase is empty, or there are phrases for another number of texts.
            DataError: the vocabulary cannot spell a phrase, it is too long, or it contains one to avoid.
        """
        pairs = list(zip(_per_text("require", require, count), _per_text("avoid", avoid, count), strict=True))
        demands = {pair: self._demand(*pair, prefix, room) for pair in dict.fromkeys(pairs)}
        return [demands[pair] for pair in pairs]

    def unspelled(self, entries: Sequence[Entry]) -> list[str]:
        """Returns the targets of entries of which the vocabulary can spell no form."""

        def spelled(text: str) -> bool:
            ids = self._tokenizer.encode(text)
            return bool(ids) and self._tokenizer.ids.unk not in ids

        return [entry.target for entry in entries if not any(spelled(form.text) for form in entry.forms)]

    def terms(self, entries: Sequence[Entry], *, avoided: Automaton | None, room: int) -> dict[str, Automaton | None]:
        """Returns what finds the forms of each entry of a glossary, by its target.

        It is None where no form can be met: the vocabulary cannot spell any, or they are longer than ``room`` or
        contain a phrase that ``avoided`` finds.
        """
        return {entry.target: self._term(entry, avoided, room) for entry in entries}

    def _term(self, entry: Entry, avoided: Automaton | None, room: int) -> Automaton | None:
        spellings: tuple[list[bytes], list[bytes]] = ([], [])
        for form in entry.forms:
            ids = self._tokenizer.encode(form.text)
            refused = not ids or self._tokenizer.ids.unk in ids or (avoided is not None and avoided.contains(ids))
            if not refused:
                spellings[form.goes_on].append(self._bytes_of(ids))
        if not any(spellings):
            return None
        finder = self._automaton(tuple(spellings[False]), tuple(spellings[True]))
        return finder if int(finder.left[0]) <= room else None

    def _demand(self, require: tuple[str, ...], avoid: tuple[str, ...], prefix: str, room: int) -> Demand:
        required = {phrase: self._automaton((self._spell("require", phrase),)) for phrase in require}
        for phrase, automaton in required.items():
            if (pieces := int(automaton.left[0])) > room:
                raise DataError(f"require {phrase[:40]!r}: has {pieces} pieces, at most {room} leave room for the end")
        if not avoid:
            return Demand(required)
        avoided = self._automaton(tuple(self._spell("avoid", phrase) for phrase in avoid))
        for name, text in [("prefix", prefix), *(("require", phrase) for phrase in require)]:
            if avoided.contains(self._tokenizer.encode(text.strip())):
                raise DataError(f"{name} {text!r}: contains a phrase to avoid")
        return Demand(required, avoided)

    def _spell(self, name: str, phrase: str) -> bytes:
        """Returns the bytes of a phrase as pieces spell them."""
        ids = self._tokenizer.encode(phrase.strip())
        if not ids:
            raise UsageError(f"{name} {phrase!r}: a phrase must not be empty")
        if self._tokenizer.ids.unk in ids:
            raise DataError(f"{name} {phrase!r}: has characters that are not in the model's vocabulary")
        return self._bytes_of(ids)

    def _bytes_of(self, ids: Sequence[int]) -> bytes:
        return b"".join(self._spellings.pieces[index] for index in ids).removeprefix(b" ")


def _per_text(name: str, phrases: Phrases, count: int) -> list[tuple[str, ...]]:
    """Returns the phrases of each text; ``name`` is the argument, for errors."""
    if isinstance(phrases, str):
        return [(phrases,)] * count
    if all(isinstance(phrase, str) for phrase in phrases):
        return [tuple(map(str, phrases))] * count
    if len(phrases) != count:
        raise UsageError(f"{name}: has phrases for {len(phrases)} texts, there are {count}")
    return [tuple(text_phrases) for text_phrases in phrases]
