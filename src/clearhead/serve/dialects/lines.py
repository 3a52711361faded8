"""Texts as lines: a line is translated by itself, so that what is written has the lines of what was read."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Lines:
    """The lines of several texts, or the blocks of documents.

    Args:
        of_texts: those of each text.
    """

    def __init__(self, of_texts: Sequence[Sequence[str]]) -> None:
        self._of_texts = of_texts

    @property
    def all(self) -> list[str]:
        """Those of all texts in a row."""
        return [line for lines in self._of_texts for line in lines]

    def contexts(self, numbers: Sequence[int], before: str = "") -> list[str]:
        """Returns what stands before each of ``all``: the line before it, none where another text is between the two.

        Args:
            numbers: of the texts in the request.
            before: what stands before the text with number 0.
        """
        found, ends = list[str](), {-1: before}
        for number, lines in zip(numbers, self._of_texts, strict=True):
            if lines:
                found += [ends.get(number - 1, ""), *lines[:-1]]
                ends[number] = lines[-1]
        return found

    def grouped(self, each: Sequence[T]) -> list[list[T]]:
        """Returns what there is for each line of ``all``, by text."""
        rest = iter(each)
        return [[next(rest) for _ in lines] for lines in self._of_texts]


def joined(lines: Sequence[Sequence[str]]) -> list[str]:
    """Returns what is read of lines that have several versions each, best first: all best ones, all second ones ...

    A line with fewer has its last one again.
    """
    count = max(map(len, lines))
    return ["\n".join(versions[min(place, len(versions) - 1)] for versions in lines) for place in range(count)]
