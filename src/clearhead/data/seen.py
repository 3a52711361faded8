"""Which texts have been seen before, by hashes in sorted arrays."""

import hashlib

import numpy as np
from numpy.typing import NDArray


class Seen:
    """Remembers texts by 64-bit hashes in sorted arrays: 8 bytes a text, where a set would take 70."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def new(self, texts: list[str]) -> NDArray[np.bool_]:
        """Returns for each text whether this is the first time it is seen."""
        digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
        hashes = np.frombuffer(b"".join(digests), np.uint64)
        unique, first = np.unique(hashes, return_index=True)
        fresh = np.zeros(len(hashes), np.bool_)
        fresh[first] = True
        for run in self._runs:
            fresh &= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] != hashes
        if len(unique):
            self._runs.append(unique)
        # arrays of like size are merged, so that there are never more than about log2(chunks) to look into
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs.append(np.union1d(self._runs.pop(), self._runs.pop()))
        return fresh
