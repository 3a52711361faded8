"""Splits a text at sentence ends without losing a character."""

import re

from clearhead.text.normalize import UNSPACED

# Possessive: a run of marks is matched whole or not, so that hostile text costs linear time.
_END = re.compile(r"[.!?。！？…]++[\"'”’」』）)\]】》]*+\s*+|\n\s*+")
_UNSPACED = re.compile(f"[{UNSPACED}“‘]")
_LAST_WORD = re.compile(r"[^\W\d_]+$")
_ABBREVIATIONS = frozenset("Mr Mrs Ms Dr Prof St Jr Sr No vs Vol Fig Nr Hr Fr Bd bzw ca".split())


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of ``text`` in order; joined with nothing between they are ``text`` again.

    A sentence ends after ``。！？``, at a line break, and after ``. ! ?`` before a CJK character or before
    white space and no lower-case letter; closing quotes, brackets and the white space behind belong to it. So
    ``3.14``, ``e.g. this``, ``J. Smith`` and ``Dr. Wang`` stay whole. Empty text gives an empty list.
    """
    parts: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if match.end() < len(text) and _ends_sentence(text, match):
            parts.append(text[start : match.end()])
            start = match.end()
    return [*parts, text[start:]] if start < len(text) else parts


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    found, follower = match[0], text[match.end()]
    if found[0] == "\n" or any(mark in found for mark in "。！？\n"):
        return True
    if not found[-1].isspace():
        return not found.startswith("…") and bool(_UNSPACED.match(follower))
    if found.rstrip() != ".":
        return not follower.islower()
    # the slice bounds the search: no abbreviation is longer
    word = _LAST_WORD.search(text[max(0, match.start() - 8) : match.start()])
    initial = word is not None and (word[0] in _ABBREVIATIONS or (len(word[0]) == 1 and word[0].isupper()))
    return not follower.islower() and not initial
