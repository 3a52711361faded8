"""A search as one call of the native engine, where it knows all that decides it: the hypotheses of ``beam_search``."""

import math
from collections.abc import Sequence

from clearhead.decode.hypotheses import Hypothesis, SearchConfig, penalty_of
from clearhead.engine.rows import NativeModel
from clearhead.engine.search import NativeHypothesis, NativeSearch, translate


def native_search(
    model: NativeModel,
    sources: Sequence[Sequence[int]],
    config: SearchConfig,
    search: NativeSearch,
    *,
    limits: Sequence[int],
    threads: int = 1,
) -> list[list[Hypothesis]]:
    """Finds the best hypothesis of each source.

    Args:
        model: an encoder-decoder.
        sources: one piece or more each.
        config: its ``n_best`` must be 1: what several hypotheses differ by, their text, is not known to the engine.
        search: marks and rules; its beam and length penalty must be those of ``config``.
        limits: most pieces of each translation, end mark included.
        threads: sources are dealt out among so many.

    Returns:
        Per source a hypothesis, or nothing where no piece was left to choose.
    """
    asked = (config.n_best, config.beam, config.length_penalty)
    if asked != (1, search.beam, search.length_penalty):
        raise ValueError(f"n_best, beam and length_penalty = {asked}: must be 1 and what the engine searches with")
    found = translate(model, sources, search, limits=limits, threads=threads)
    return [[] if best is None else [_hypothesis(best, config.length_penalty)] for best in found]


def _hypothesis(best: NativeHypothesis, length_penalty: float) -> Hypothesis:
    score = math.fsum(best.log_probs)
    rank_score = score / penalty_of(len(best.log_probs), length_penalty)
    return Hypothesis(best.ids, best.log_probs, score, rank_score, best.complete, best.cut_better)
