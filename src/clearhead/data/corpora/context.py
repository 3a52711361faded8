"""What stands before a line and is read with it: the line before, its last pieces where not all of it fits."""

from collections.abc import Sequence
from typing import NamedTuple

from clearhead.data.corpora.report import CorpusReport
from clearhead.errors import UsageError
from clearhead.text.special import mark_of
from clearhead.text.tokenizer import Tokenizer

CONTEXT = "ctx"
"""The mark of a vocabulary, see ``mark_of``, whose piece stands between a line and what is before it."""


class Pair(NamedTuple):
    """One encoded pair and the line it came from; ids are without begin and end marks."""

    line: int
    src: str
    tgt: str
    src_ids: list[int]
    tgt_ids: list[int]
    context: Sequence[int] = ()
    """What is read before ``src_ids``, the mark between them included; empty: nothing."""


def fitted(before: Sequence[int], own: int, *, most: int, tokenizer: Tokenizer) -> list[int]:
    """Returns what is read before a line: the last pieces before it, and the mark; nothing if none has room.

    Args:
        before: all pieces that stand before the line.
        own: pieces of the line itself, none of which gives way.
        most: pieces of both and the mark.
        tokenizer: of the source; no character is cut.
    """
    room = min(most - own - 1, len(before))
    if room < 1:
        return []
    first = tokenizer.border(before, len(before) - room, later=True)
    return [*before[first:], tokenizer.marks[CONTEXT]]


class Contexts:
    """Gives the pairs of a text what stands before each: the line before it in the file, whatever became of that.

    Nothing stands before the first line, or behind a blank one, which ends a document.

    Args:
        tokenizer: of the source.
        most: pieces of a source.
        report: where it is counted.

    Raises:
        UsageError: the vocabulary has no mark to stand between the two.
    """

    def __init__(self, tokenizer: Tokenizer, *, most: int, report: CorpusReport) -> None:
        if CONTEXT not in tokenizer.marks:
            piece = mark_of(CONTEXT)
            raise UsageError(f"data.context = 1: the vocabulary of this run must have {piece}, and has not")
        self._tokenizer, self._most, self._report = tokenizer, most, report
        self._last: list[int] = []

    def before(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """Returns all pieces before each line, of some lines that follow those of the last call."""
        contexts = [self._last, *map(self._read, pairs)]
        self._last = contexts.pop()
        return contexts

    def _read(self, pair: Pair) -> list[int]:
        """Returns the pieces of a line as one that stands before another."""
        words = pair.src.strip()
        return pair.src_ids if words == pair.src else self._tokenizer.encode(words)

    def given(self, parts: Sequence[Pair], before: list[int]) -> list[Pair]:
        """Returns what is kept of a line, with its context; before a part of it stands the one in front of it."""
        made = []
        for part in parts:
            context = fitted(before, len(part.src_ids), most=self._most, tokenizer=self._tokenizer)
            made.append(part._replace(context=context))
            self._report.with_context += bool(context)
            self._report.shortened += 0 < len(context) <= len(before)
            self._report.without_room += bool(before) and not context
            before = part.src_ids
        return made
