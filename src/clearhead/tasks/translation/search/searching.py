"""The search for translations of a batch of sources, step by step, with every rule that there is."""

from collections.abc import Callable, Sequence

import torch

from clearhead.data.translation import collate_sources
from clearhead.decode.decoding import Shortlisted, start_decoding
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.search import beam_search
from clearhead.engine.rows import NativeModel
from clearhead.tasks.translation.recipe import Net
from clearhead.tasks.translation.search.native import Batch
from clearhead.tasks.translation.search.search_rules import phrase_constraints, search_rules
from clearhead.text.tokenizer import Tokenizer


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
    src_ids, src_mask = collate_sources(batch.sources, special=ids)
    src_mask = None if src_mask is None else src_mask.to(device)
    with torch.inference_mode():
        decoding = start_decoding(writer, src_ids.to(device), src_mask, beam=config.beam)
    if batch.shortlists:
        sizes = {"vocab": tokenizer.vocab_size, "beam": config.beam}
        decoding = Shortlisted(decoding, batch.shortlists, **sizes, device=device)
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
