"""Splits a text at sentence ends without losing a character."""

import re

from clearhead.text.normalize import UNSPACED

# Possessive quantifiers: a run of marks matches as a whole or not at all, so that hostile text costs linear time.
_END = re.compile(r"[.!?。！？…]++[\"'”’」』）)\]】》]*+\s*+(?:[”’」』）)\]】》]++(?:\s++|\Z))*+|\n\s*+")
_APART = re.compile(r'"(?:\s++|\Z)')  # a quote mark with space around it, as in tokenized text
_UNSPACED = re.compile(f"[{UNSPACED}“‘]")
_LAST_WORD = re.compile(r"[^\W\d_]+$")
_ABBREVIATIONS = frozenset("Mr Mrs Ms Dr Prof St Jr Sr No vs Vol Fig Nr Hr Fr Bd bzw ca".split())


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of ``text`` in order; joined without separator they are ``text`` again.

    A sentence ends after ``。！？``, at a line break, and after ``. ! ?`` before a CJK character, or before white space
    that no lower-case letter or mark follows. Closing quotes, brackets and the white space after the end belong to the
    sentence. So ``3.14``, ``e.g. this``, ``J. Smith`` and ``Dr. Wang`` stay whole. In tokenized text, where quote marks
    have spaces around them (``he said . " Then``), a quote mark closes if an odd number of them came before it. Empty
    text gives an empty list.
    """
    parts: list[str] = []
    start = counted = quotes = 0
    for match in _END.finditer(text):
        end = match.end()
        quotes, counted = quotes + text.count('"', counted, end), end
        if (quote := _APART.match(text, end)) and (quotes % 2 or quote.end() == len(text)):
            end = quote.end()
        # a line break inside the white space after a quote mark has ended the sentence already: end == start
        if start < end < len(text) and _ends_sentence(text, match[0], match.start(), end):
            parts.append(text[start:end])
            start = end
    return [*parts, text[start:]] if start < len(text) else parts


def _ends_sentence(text: str, marks: str, at: int, end: int) -> bool:
    """Returns whether the ``marks`` at ``at`` end a sentence; the next one would start at ``end``."""
    follower = text[end]
    if marks[0] == "\n" or any(mark in marks for mark in "。！？\n"):
        return True
    if not marks[-1].isspace():
        return not marks.startswith("…") and bool(_UNSPACED.match(follower))
    if follower.islower() or follower in ".!?":
        return False
    if marks.rstrip() != ".":
        return True
    # the slice bounds the search: no abbreviation is longer
    word = _LAST_WORD.search(text[max(0, at - 8) : at])
    is_short = word is not None and (word[0] in _ABBREVIATIONS or (len(word[0]) == 1 and word[0].isupper()))
    return not is_short
