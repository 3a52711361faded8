"""Translations that are drawn and not searched for, step by step; the numbers are those of the native engine."""

from collections.abc import Sequence
from typing import Any

import torch

from clearhead.data.translation import collate_sources
from clearhead.decode.decoding import start_decoding
from clearhead.decode.sampling import choose
from clearhead.engine.loops.continuation import Continuation, never
from clearhead.engine.loops.drawing import PART, Draw
from clearhead.engine.loops.sampling import uniform_of
from clearhead.tasks.translation.search.batches import BATCH_TOKENS, batches_to_decode
from clearhead.tasks.translation.search.search_rules import search_rules
from clearhead.text.phrase_book import Demand
from clearhead.text.tokenizer import Tokenizer


def draw_by_steps(
    writer: Any, draws: Sequence[Draw], *, tokenizer: Tokenizer, device: torch.device, tokens: int = BATCH_TOKENS
) -> list[Continuation]:
    """Draws a translation of each source, see ``engine.loops.drawing.draw_translations``.

    Args:
        writer: what decodes.
        draws: the sources, with end marks.
        tokenizer: of the target.
        device: of the logits.
        tokens: source pieces that are decoded together.

    Raises:
        ModelError: logits are NaN, or no piece is left to draw.
    """
    found = [Continuation() for _ in draws]
    sources = [[*draw.source[:-1]] for draw in draws]
    for rows, _ in batches_to_decode(sources, [Demand()] * len(draws), 1, tokens=tokens):
        batch = [(draws[row], found[row]) for row in rows]
        _draw_batch(writer, batch, tokenizer=tokenizer, device=device)
    return found


@torch.inference_mode()
def _draw_batch(
    writer: Any, batch: list[tuple[Draw, Continuation]], *, tokenizer: Tokenizer, device: torch.device
) -> None:
    """Fills the translations of sources that are decoded together."""
    limits, special = [draw.settings.limit for draw, _ in batch], tokenizer.ids
    src_ids, src_mask = collate_sources([[*draw.source[:-1]] for draw, _ in batch], special=special)
    src_mask = None if src_mask is None else src_mask.to(device)
    decoding = start_decoding(writer, src_ids.to(device), src_mask, beam=1)
    rules = search_rules(tokenizer, limits=limits, device=device)
    rows = torch.arange(len(batch), device=device)
    ids = torch.zeros(len(batch), max(limits), dtype=torch.long, device=device)
    pieces = torch.full((len(batch),), special.bos, device=device)
    for position in range(max(limits)):
        logits = decoding.advance(pieces)
        scores = logits.clone()[:, None]  # rows 1 vocab
        for rule in rules:
            rule(scores, ids[:, None, :position], rows)
        going = [batch[row] for row in rows.tolist()]
        numbers = [_number(draw, position) for draw, _ in going]
        pieces = choose(
            scores[:, 0], going[0][0].settings.config, torch.tensor(numbers, dtype=torch.float64, device="cpu")
        )
        log_probs = logits.log_softmax(dim=-1).gather(1, pieces[:, None])[:, 0]
        over = [
            text.take(piece, log_prob, ends=draw.settings.marks, limit=draw.settings.limit, stopped=never)
            for (draw, text), piece, log_prob in zip(going, pieces.tolist(), log_probs.tolist(), strict=True)
        ]
        ids[:, position] = pieces
        if all(over):
            return
        if any(over):
            stay = torch.tensor([row for row, end in enumerate(over) if not end], device=device)
            decoding.keep(stay)
            rows, ids, pieces = rows[stay], ids[stay], pieces[stay]


def _number(draw: Draw, position: int) -> float:
    return uniform_of(draw.settings.config.seed, draw.sample, (draw.part << PART) + position)
