"""A search as one call of the native engine, where it knows all that decides it: the hypotheses of ``beam_search``."""

import math
from collections.abc import Sequence
from typing import Any

from clearhead.decode.hypotheses import Hypothesis, SearchConfig, TextOf, penalty_of
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.search import NativeHypothesis, NativeSearch, Shortlists, continue_prompts, translate
from clearhead.engine.rows import NativeModel
from clearhead.text.phrase_book import Demand


def native_search(  # noqa: PLR0913 - all that decides a search, by name
    model: NativeModel,
    sources: Sequence[Sequence[int]],
    config: SearchConfig,
    search: NativeSearch,
    *,
    limits: Sequence[int],
    prefixes: Sequence[Sequence[int]] = (),
    shortlists: Shortlists = (),
    demands: Sequence[Demand] = (),
    threads: int = 1,
    text_of: TextOf | None = None,
) -> list[list[Hypothesis]]:
    """Finds the best hypotheses of each source.

    Args:
        model: an encoder-decoder.
        sources: one piece or more each.
        config: of the search.
        search: marks and rules; its beam, n_best and length penalty must be those of ``config``.
        limits: most pieces of each translation, end mark included.
        prefixes: what each translation begins with; empty: none does.
        shortlists: the pieces that may translate each, ascending, over which log-probabilities are; empty: all may.
        demands: what each must and must not contain; empty: there is nothing.
        threads: sources are dealt out among so many.
        text_of: see ``search_steps``.

    Returns:
        Per source ``n_best`` hypotheses or fewer, best first.
    """
    asked = (config.n_best, config.beam, config.length_penalty)
    if asked != (search.n_best, search.beam, search.length_penalty):
        raise ValueError(f"n_best, beam and length_penalty = {asked}: must be what the engine searches with")
    given: Any = {"prefixes": prefixes, "shortlists": shortlists, "demands": demands}
    found = translate(model, sources, search, limits=limits, **given, threads=threads, text_of=text_of)
    return hypotheses_of(found, config.length_penalty)


def native_text_search(
    model: NativeModel,
    prompts: Sequence[Sequence[int]],
    config: SearchConfig,
    settings: SamplerSettings,
    *,
    limits: Sequence[int],
    threads: int = 1,
    text_of: TextOf | None = None,
) -> list[list[Hypothesis]]:
    """Finds the best texts that follow each prompt, as ``beam_search`` with ``Sampler.rule`` does.

    Args:
        model: a decoder-only model.
        prompts: one piece or more each.
        config: of the search.
        settings: penalties and bans.
        limits: most pieces of each text, end mark included.
        threads: prompts are dealt out among so many.
        text_of: see ``search_steps``.
    """
    search = NativeSearch(settings.eos_id, settings.eos_id, config.beam, config.length_penalty, n_best=config.n_best)
    found = continue_prompts(model, prompts, search, settings, limits=limits, threads=threads, text_of=text_of)
    return hypotheses_of(found, config.length_penalty)


def hypotheses_of(found: list[list[NativeHypothesis]], length_penalty: float) -> list[list[Hypothesis]]:
    """Returns what the engine has found, with scores as ``decode.search`` has them."""
    return [[_hypothesis(each, length_penalty) for each in ranked] for ranked in found]


def _hypothesis(one: NativeHypothesis, length_penalty: float) -> Hypothesis:
    score = math.fsum(one.log_probs)
    rank_score = score / penalty_of(len(one.log_probs), length_penalty)
    return Hypothesis(one.ids, one.log_probs, score, rank_score, one.complete, one.cut_better)
