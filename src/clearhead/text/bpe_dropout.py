"""BPE-dropout: random segmentations of a word, reproducible from a seed, for training."""

import heapq
import random
from collections.abc import Callable, Sequence

# Candidate merges: rank, position of the left symbol, id of the merged piece.
Heap = list[tuple[int, int, int]]


class BpeDropout:
    """Applies BPE merges; at every step each candidate is left out with probability ``p``.

    Provilkov, Emelianenko and Voita (2020), "BPE-Dropout: Simple and Effective Subword Regularization",
    algorithm 1. The implementation in the Hugging Face library takes no seed. With ``p = 0`` this equals its plain BPE.
    """

    words_kept = 1 << 16  # number of words whose initial symbols and candidates are cached

    def __init__(self, ids: dict[str, int], merges: Sequence[tuple[str, str]], *, p: float, unk: int):
        """Takes the vocabulary, the merges by rank, the probability and the id of unknown characters."""
        self._ids, self._p, self._unk = ids, p, unk
        self._merges = {(ids[a], ids[b]): (rank, ids[a + b]) for rank, (a, b) in enumerate(merges)}
        self._starts: dict[str, tuple[list[int], Heap]] = {}

    def encode(self, words: Sequence[str], seed: int) -> list[int]:
        """Returns the ids of all ``words``; the same seed gives the same ids."""
        draw = random.Random(seed).random
        ids: list[int] = []
        for word in words:
            symbols, heap = self._starts.get(word) or self._start(word)
            ids += self._merge(symbols.copy(), heap.copy(), draw)
        return ids

    def _start(self, word: str) -> tuple[list[int], Heap]:
        """Returns the characters of a word as ids, and the candidate merges."""
        symbols = [self._ids.get(char, self._unk) for char in word]
        heap: Heap = []
        for at in range(len(symbols) - 1):
            self._push(heap, symbols, at, at + 1)
        if len(self._starts) >= self.words_kept:
            self._starts.clear()
        if len(word) < 256:
            self._starts[word] = symbols, heap
        return symbols, heap

    def _merge(self, symbols: list[int], heap: Heap, draw: Callable[[], float]) -> list[int]:
        """Merges in place; a symbol that went into its left neighbour becomes -1."""
        after, before = list(range(1, len(symbols) + 1)), list(range(-1, len(symbols) - 1))
        dropped: Heap = []
        while heap:
            candidate = heapq.heappop(heap)
            _, at, merged = candidate
            right = after[at]
            if symbols[at] < 0 or right == len(symbols):
                continue
            if self._merges.get((symbols[at], symbols[right]), (0, -1))[1] != merged:
                continue  # an earlier merge used one of the two symbols
            if self._p and draw() < self._p:
                dropped.append(candidate)
                continue
            symbols[at], symbols[right] = merged, -1
            after[at] = right = after[right]
            while dropped:  # these are candidates again in the next step
                heapq.heappush(heap, dropped.pop())
            if right < len(symbols):
                before[right] = at
                self._push(heap, symbols, at, right)
            if before[at] >= 0:
                self._push(heap, symbols, before[at], at)
        return [symbol for symbol in symbols if symbol >= 0]

    def _push(self, heap: Heap, symbols: list[int], left: int, right: int) -> None:
        if merge := self._merges.get((symbols[left], symbols[right])):
            heapq.heappush(heap, (merge[0], left, merge[1]))
