"""BPE-dropout: random segmentations of a word, reproducible from a seed, for training."""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# Candidate merges: rank, position of the left symbol, id of the merged piece.
Heap = list[tuple[int, int, int]]

_ALL = 1 << 40  # more merges than any word has


@dataclass(frozen=True)
class _Split:
    """A segmentation of a word: with no merge left out, or with those on the way here from there.

    ``merges`` is how many were made since the last one that was left out, ``instead`` what comes of leaving out one of
    them, by how many are made before it.
    """

    pieces: list[int]
    merges: int
    instead: dict[int, "_Split"] = field(default_factory=dict)


class BpeDropout:
    """Applies BPE merges; at every step each candidate is left out with probability ``p``.

    Provilkov, Emelianenko and Voita (2020), "BPE-Dropout: Simple and Effective Subword Regularization",
    algorithm 1. The implementation in the Hugging Face library takes no seed. With ``p = 0`` this equals its plain BPE.

    How many merges are made before the next one is left out is drawn (a geometric variable), not each merge by itself.
    A word of no more merges than that has its plain pieces. Those are kept, and so are the others that were met.
    """

    splits_kept = 1 << 18  # number of segmentations that are cached, of words shorter than ``longest_kept``
    longest_kept = 64

    def __init__(self, ids: dict[str, int], merges: Sequence[tuple[str, str]], *, p: float, unk: int):
        """Takes the vocabulary, the merges by rank, the probability and the id of unknown characters."""
        self._ids, self._unk = ids, unk
        self._scale = 1 / math.log1p(-p) if p else 0.0
        self._merges = {(ids[a], ids[b]): (rank, ids[a + b]) for rank, (a, b) in enumerate(merges)}
        self._plain: dict[str, _Split] = {}
        self._count = 0

    def encode(self, words: Sequence[str], seed: int) -> list[int]:
        """Returns the ids of all ``words``; the same seed gives the same ids."""
        draw = random.Random(seed).random

        def next_run() -> int:
            """How many merges are made before the next one is left out."""
            return int(math.log(1 - draw()) * self._scale) if self._scale else _ALL

        ids: list[int] = []
        run = next_run()
        for word in words:
            if len(word) >= self.longest_kept:
                pieces, run = self._merge(word, run, next_run)
                ids += pieces
                continue
            split = self._plain.get(word) or self._plain.setdefault(word, self._split(word, ()))
            left_out: tuple[int, ...] = ()
            while run < split.merges:
                left_out += (run,)
                known = split.instead.get(run)
                split = known or split.instead.setdefault(run, self._split(word, left_out))
                run = next_run()
            run -= split.merges
            ids += split.pieces
        return ids

    def _split(self, word: str, left_out: tuple[int, ...]) -> _Split:
        """Returns the segmentation with a merge left out after each of these runs; forgets all others at the limit."""
        run, *runs = *left_out, _ALL
        pieces, left = self._merge(word, run, iter(runs).__next__)
        if self._count >= self.splits_kept:
            self._plain.clear()
            self._count = 0
        self._count += 1
        return _Split(pieces, _ALL - left)

    def _merge(self, word: str, run: int, next_run: Callable[[], int]) -> tuple[list[int], int]:
        """Makes ``run`` merges, leaves one out, makes those of the next run, and so on to the end of the word.

        Returns the pieces, and how many merges are left of the last run.
        """
        symbols = [self._ids.get(char, self._unk) for char in word]
        after, before = list(range(1, len(symbols) + 1)), list(range(-1, len(symbols) - 1))
        heap: Heap = []
        for at in range(len(symbols) - 1):
            self._push(heap, symbols, at, at + 1)
        dropped: Heap = []
        while heap:
            candidate = heapq.heappop(heap)
            _, at, merged = candidate
            right = after[at]
            if symbols[at] < 0 or right == len(symbols):
                continue
            if self._merges.get((symbols[at], symbols[right]), (0, -1))[1] != merged:
                continue  # an earlier merge used one of the two symbols
            if not run:
                dropped.append(candidate)
                run = next_run()
                continue
            run -= 1
            symbols[at], symbols[right] = merged, -1  # a symbol that went into its left neighbour
            after[at] = right = after[right]
            while dropped:  # these are candidates again in the next step
                heapq.heappush(heap, dropped.pop())
            if right < len(symbols):
                before[right] = at
                self._push(heap, symbols, at, right)
            if before[at] >= 0:
                self._push(heap, symbols, before[at], at)
        return [symbol for symbol in symbols if symbol >= 0], run

    def _push(self, heap: Heap, symbols: list[int], left: int, right: int) -> None:
        if merge := self._merges.get((symbols[left], symbols[right])):
            heapq.heappush(heap, (merge[0], left, merge[1]))
