"""Which encoded sources are decoded together, and how wide the beam of each batch is."""

from collections.abc import Iterator

from clearhead.text.phrase_book import Demand

BATCH_TOKENS = 4096  # source pieces, with padding, times beams that are decoded together
NATIVE_TOKENS = 1 << 17  # the same for the native engine, which deals them out among its threads, and pads nothing


def batches_to_decode(
    sources: list[list[int]], demands: list[Demand], beam: int, *, tokens: int = BATCH_TOKENS
) -> Iterator[tuple[list[int], int]]:
    """Yields rows of like length to decode together, longest first, with their beam; empty ones are in no batch.

    The beam is widened by the number of required pieces, so that each bank of ``Constraints`` has a place in it. Texts
    with different beams are decoded separately, so that no result depends on another text.

    Args:
        sources: pieces of each.
        demands: what each translation must contain.
        beam: hypotheses of each.
        tokens: source pieces times beams of a batch.
    """
    for pieces in sorted({demand.pieces for demand in demands}):
        rows = [row for row, ids in enumerate(sources) if ids and demands[row].pieces == pieces]
        rows.sort(key=lambda row: -len(sources[row]))
        most, batch = max(tokens // (beam + pieces), 1), list[int]()
        for row in rows:
            if batch and len(sources[batch[0]]) * (len(batch) + 1) > most:
                yield batch, beam + pieces
                batch = []
            batch.append(row)
        if batch:
            yield batch, beam + pieces
