"""Which encoded sources are decoded together, and how wide the beam of each batch is."""

from collections.abc import Iterator

import numpy as np

from clearhead.data.batching import sequential_batches
from clearhead.text.phrase_book import Demand

BATCH_TOKENS = 4096  # source pieces times beams that are decoded together


def batches_to_decode(sources: list[list[int]], demands: list[Demand], beam: int) -> Iterator[tuple[list[int], int]]:
    """Yields rows to decode together, with their beam.

    The beam is widened by the number of required pieces, so that each bank of ``Constraints`` has a place in it. Texts
    with different beams are decoded separately, so that no result depends on another text.
    """
    for pieces in sorted({demand.pieces for demand in demands}):
        rows = np.array([row for row, ids in enumerate(sources) if ids and demands[row].pieces == pieces], np.int64)
        lengths = np.array([len(sources[row]) for row in rows], dtype=np.int32)
        plan = sequential_batches(lengths, batch_tokens=max(BATCH_TOKENS // (beam + pieces), 1))
        yield from ((rows[plan[index]].tolist(), beam + pieces) for index in range(len(plan)))
