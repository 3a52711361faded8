"""The search for translations of a batch of sources: one native call where that knows all rules, else by steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from clearhead.data.translation import collate_sources
from clearhead.decode.decoding import start_decoding
from clearhead.decode.native import native_search
from clearhead.decode.search import Hypothesis, SearchConfig, beam_search
from clearhead.engine.rows import NativeModel
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.translation.recipe import Net
from clearhead.tasks.translation.result import Translation
from clearhead.tasks.translation.search_rules import native_search_of, phrase_constraints, search_rules
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


def search_batch(
    writer: Net | NativeModel,
    batch: Batch,
    config: SearchConfig,
    *,
    tokenizer: Tokenizer,
    text_of: Callable[[Sequence[int]], str],
    device: torch.device,
) -> list[list[Hypothesis]]:
    """Returns up to ``config.n_best`` hypotheses of each source, best first.

    Args:
        writer: what decodes.
        batch: what is translated.
        config: with the beam of this batch.
        tokenizer: of the target.
        text_of: what a reader sees of pieces, by which hypotheses differ.
        device: of the search.
    """
    ids = tokenizer.ids
    if isinstance(writer, NativeModel) and _is_plain(batch):
        sources = [[*source, ids.eos] for source in batch.sources]
        search = native_search_of(tokenizer, config, batch.prefixes)
        threads = torch.get_num_threads()
        return native_search(writer, sources, config, search, limits=batch.limits, threads=threads, text_of=text_of)
    src_ids, src_mask = collate_sources(batch.sources, special=ids)
    src_mask = None if src_mask is None else src_mask.to(device)
    with torch.inference_mode():
        decoding = start_decoding(writer, src_ids.to(device), src_mask, beam=config.beam)
    rules = search_rules(tokenizer, limits=batch.limits, prefixes=batch.prefixes, demands=batch.demands, device=device)
    return beam_search(
        decoding,
        config,
        limits=batch.limits,
        bos_id=ids.bos,
        eos_id=ids.eos,
        rules=rules,
        constraints=phrase_constraints(batch.demands, eos_id=ids.eos, device=device),
        text_of=text_of,
        device=device,
    )


def translation_of(hypothesis: Hypothesis, source: list[int], *, tokenizers: Tokenizers, text: str) -> Translation:
    """Returns the translation that a hypothesis stands for; ``text`` is what its pieces spell."""
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
        source_ids=source,
        target_ids=ids,
    )


def _is_plain(batch: Batch) -> bool:
    """Whether nothing is asked for but prefixes: the native call knows no phrases."""
    return not any(each.required or each.avoided for each in batch.demands)
