"""Splits a text at sentence ends without losing a character."""

import re
from collections.abc import Iterator

WINDOW = 2048
"""Characters that are looked at together: sentencex takes the square of their number where quotes stay open."""

_LINE = re.compile(r"[^\n]*+\n\s*+|[^\n]++")
# Marks that end a sentence and are not known to sentencex: Khmer, Tibetan, Sinhala, and the Armenian question mark
_MORE_ENDS = re.compile(r"(?<=[។៕៚༎෴՞])\s*+|(?<=།)\s++")
_WORD = re.compile(r"\w")
_TITLE = re.compile(r"(?:^|\W)(?:Mr|Mrs|Ms|Dr|Prof|St|Mt)\.\s+$")
_INITIAL = re.compile(r"(?:^|[\s(])[^\W\d_]\.\s*$")


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Returns the sentences of ``text`` in order; joined without separator they are ``text`` again.

    The ends are those of the library sentencex, with the abbreviations of the language: ``3.14``, ``e.g. this``,
    ``J. Smith`` and what is in quotes stay whole. A line break ends a sentence too. White space and marks after a
    sentence belong to it, white space at the beginning of the text to the first one. Empty text gives an empty list.

    Args:
        text: without lone surrogates.
        language: its code as sentencex knows it, see ``text.language``; an unknown one falls back on English.
    """
    parts: list[list[str]] = []
    for line in _LINE.findall(text):
        goes_on = False  # whether the part before is only the beginning of a sentence
        for number, (part, ends) in enumerate(_of_line(line, language)):
            if number and (goes_on or not _WORD.search(part)):
                parts[-1].append(part)
            else:
                parts.append([part])
            end = part[-8:]
            goes_on = not ends or bool(_TITLE.search(end) or (language != "en" and _INITIAL.search(end)))
    if len(parts) > 1 and parts[0][0].isspace():
        parts[:2] = [parts[0] + parts[1]]
    return ["".join(part) for part in parts]


def _of_line(line: str, language: str) -> Iterator[tuple[str, bool]]:
    """Yields the parts of a line, and whether each ends a sentence: a longer one than four windows is in several."""
    import sentencex

    start, size = 0, WINDOW
    while start < len(line):
        window = line[start : start + size]
        segments = sentencex.segment(language, window)
        more = start + size < len(line)
        if more and len(segments) == 1 and size < 4 * WINDOW:
            size *= 2
            continue
        kept = segments[:-1] if more and len(segments) > 1 else segments  # the last sentence of a window may go on
        ends = kept is not segments or not more
        yield from ((part, ends) for segment in kept for part in _cut(segment))
        start, size = start + sum(map(len, kept)), WINDOW


def _cut(segment: str) -> Iterator[str]:
    start = 0
    for end in _MORE_ENDS.finditer(segment):
        if start < end.end() < len(segment):
            yield segment[start : end.end()]
            start = end.end()
    if start < len(segment):
        yield segment[start:]
