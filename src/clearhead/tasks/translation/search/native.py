"""A batch of sources translated by one call of the native engine; no torch."""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.native import native_search
from clearhead.engine.loops.continuation import Continuation
from clearhead.engine.loops.drawing import Draw
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.search import NativeSearch
from clearhead.engine.rows import NativeModel
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.translation.result import Translation
from clearhead.tasks.translation.search.shortlist import Pieces
from clearhead.text.phrase_book import Demand
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Batch:
    """Encoded sources that are translated together."""

    sources: list[list[int]]
    """Pieces without end marks, one or more each."""
    prefixes: list[list[int]]
    """What each translation begins with."""
    demands: list[Demand]
    limits: list[int]
    """Most pieces of each, end mark included."""
    shortlists: Sequence[Pieces] = ()
    """The pieces that may translate each; empty: all may."""
    rows: Sequence[int] = ()
    """Which of all parts of the texts each is."""


R = TypeVar("R")
Wanted: TypeAlias = Iterable[tuple[Batch, SearchConfig]]
"""Batches, one or more, none of which needs what comes of another; each is made when it is asked for."""
Searching: TypeAlias = Generator[Wanted, list[list[list[Hypothesis]]], R]
"""What comes of searches: it gives what can be searched for at once, and is sent each batch's hypotheses by source."""


def carried_out(searching: Searching[R], search: Callable[[Batch, SearchConfig], list[list[Hypothesis]]]) -> R:
    """Returns what comes of searches, which ``search`` makes here and now, one after another."""
    try:
        wanted = next(searching)
        while True:
            wanted = searching.send([search(*each) for each in wanted])
    except StopIteration as end:
        result: R = end.value
        return result


def search_natively(
    model: NativeModel,
    batch: Batch,
    config: SearchConfig,
    *,
    tokenizer: Tokenizer,
    text_of: Callable[[Sequence[int]], str],
    threads: int,
) -> list[list[Hypothesis]]:
    """Returns up to ``config.n_best`` hypotheses of each source of a batch, best first.

    Args:
        model: an encoder-decoder.
        batch: what is translated.
        config: with the beam of this batch.
        tokenizer: of the target.
        text_of: what a reader sees of pieces, by which hypotheses differ.
        threads: sources are dealt out among so many.
    """
    sources = [[*source, tokenizer.ids.eos] for source in batch.sources]
    given: Any = {"limits": batch.limits, "prefixes": batch.prefixes if any(batch.prefixes) else ()}
    given |= {"shortlists": batch.shortlists, "demands": batch.demands}
    search = native_search_of(tokenizer, config)
    return native_search(model, sources, config, search, **given, threads=threads, text_of=text_of)


def never(tokenizer: Tokenizer) -> list[int]:
    """Returns the pieces that are in no translation."""
    ids = tokenizer.ids
    return [ids.pad, ids.bos, ids.unk, *tokenizer.tags.values(), *tokenizer.marks.values()]


def native_search_of(tokenizer: Tokenizer, config: SearchConfig) -> NativeSearch:
    """Returns the search of translations for the native engine."""
    return NativeSearch(
        tokenizer.ids.bos,
        tokenizer.ids.eos,
        config.beam,
        config.length_penalty,
        forbidden=never(tokenizer),
        characters=tokenizer.characters,
        n_best=config.n_best,
    )


def draws_of(
    sources: Sequence[list[int]],
    numbers: Sequence[tuple[int, int]],
    config: SamplingConfig,
    *,
    tokenizers: Tokenizers,
    limits: Sequence[int],
) -> list[Draw]:
    """Returns how a translation of each source is drawn.

    Args:
        sources: pieces without end marks.
        numbers: of the text and of the part that each is.
        config: how pieces are drawn.
        tokenizers: of both sides.
        limits: most pieces of each translation, end mark included.
    """
    target, end = tokenizers.tgt, tokenizers.src.ids.eos
    own: Any = {"forbidden": never(target), "characters": target.characters}
    settings = {limit: SamplerSettings(config, target.ids.eos, **own, limit=limit) for limit in set(limits)}
    asked = zip(sources, limits, numbers, strict=True)
    return [Draw([*ids, end], settings[limit], *number) for ids, limit, number in asked]


def drawn_hypothesis(text: Continuation) -> Hypothesis:
    """Returns what was drawn as a search would have found it."""
    complete, score = text.reason == "end", math.fsum(text.log_probs)
    return Hypothesis(text.ids[:-1] if complete else text.ids, text.log_probs, score, score, complete)


def translation_of(
    hypothesis: Hypothesis, source: list[int], *, tokenizers: Tokenizers, text: str, before: int
) -> Translation:
    """Returns the translation that a hypothesis stands for; see ``Translation``."""
    source_end, end = tokenizers.src.ids.eos, tokenizers.tgt.ids.eos
    ids = hypothesis.ids + [end] * hypothesis.complete
    return Translation(
        text=text,
        score=hypothesis.score,
        rank_score=hypothesis.rank_score,
        pieces=tokenizers.tgt.pieces(ids),
        log_probs=hypothesis.log_probs,
        source_pieces=tokenizers.src.pieces([*source, source_end]),
        complete=hypothesis.complete,
        cut_better=hypothesis.cut_better,
        before=before,
        source_ids=source,
        target_ids=ids,
    )
