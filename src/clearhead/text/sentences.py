"""Splits a text at sentence ends without losing a character."""

import re

from clearhead.text.normalize import UNSPACED

# Possessive: a run of marks is matched whole or not, so that hostile text costs linear time.
_END = re.compile(r"[.!?。！？…]++[\"'”’」』）)\]】》]*+\s*+(?:[”’」』）)\]】》]++(?:\s++|\Z))*+|\n\s*+")
_APART = re.compile(r'"(?:\s++|\Z)')  # a quote mark that stands apart, as in tokenized text
_UNSPACED = re.compile(f"[{UNSPACED}“‘]")
_LAST_WORD = re.compile(r"[^\W\d_]+$")
_ABBREVIATIONS = frozenset("Mr Mrs Ms Dr Prof St Jr Sr No vs Vol Fig Nr Hr Fr Bd bzw ca".split())


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of ``text`` in order; joined with nothing between they are ``text`` again.

    A sentence ends after ``。！？``, at a line break, and after ``. ! ?`` before a CJK character or before
    white space and no lower-case letter or mark; closing quotes, brackets and the white space behind belong to it. So
    ``3.14``, ``e.g. this``, ``J. Smith`` and ``Dr. Wang`` stay whole. Of tokenized text (``he said . " Then``), where a
    quote mark stands apart, it closes if an odd number of them came before. Empty text gives an empty list.
    """
    parts: list[str] = []
    start = counted = quotes = 0
    for match in _END.finditer(text):
        end = match.end()
        quotes, counted = quotes + text.count('"', counted, end), end
        if (quote := _APART.match(text, end)) and (quotes % 2 or quote.end() == len(text)):
            end = quote.end()
        if end < len(text) and _ends_sentence(text, match[0], match.start(), end):
            parts.append(text[start:end])
            start = end
    return [*parts, text[start:]] if start < len(text) else parts


def _ends_sentence(text: str, found: str, at: int, end: int) -> bool:
    """Says whether the marks ``found`` at ``at`` end a sentence, of which the next would start at ``end``."""
    follower = text[end]
    if found[0] == "\n" or any(mark in found for mark in "。！？\n"):
        return True
    if not found[-1].isspace():
        return not found.startswith("…") and bool(_UNSPACED.match(follower))
    if follower.islower() or follower in ".!?":
        return False
    if found.rstrip() != ".":
        return True
    # the slice bounds the search: no abbreviation is longer
    word = _LAST_WORD.search(text[max(0, at - 8) : at])
    initial = word is not None and (word[0] in _ABBREVIATIONS or (len(word[0]) == 1 and word[0].isupper()))
    return not initial
