"""What a masked language model in training puts into the gaps of a few sentences of the valid split."""

from dataclasses import dataclass

import numpy as np
import torch

from clearhead.data.masked import MaskedText
from clearhead.data.segments import collate_segments, marks
from clearhead.models.bert import BertPretraining
from clearhead.text.special import MASK
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.events import SampledLine
from clearhead.training.samples.choose import in_drawn_order, random_order, sampled_line

HIDE_EVERY = 7
"""Pieces of a sentence, of which one is hidden: about the share of training."""
LEAST = 4
"""Pieces of a sentence."""


@dataclass(frozen=True)
class Gapped:
    """A sentence, and which of its pieces are hidden."""

    ids: list[int]
    hidden: list[int]
    """Places in ``ids``, in their order."""


def gapped_sentences(text: MaskedText, count: int, seed: int) -> list[Gapped]:
    """Returns ``count`` sentences, drawn from ``seed``, with gaps; fewer where the split has no more."""
    store, rng, found = text.store, random_order(seed), list[Gapped]()
    never = {*vars(text.masker.special).values()}
    for row in in_drawn_order(np.diff(store.sentences), seed) if count else ():
        ids = store.ids[store.sentences[row] : store.sentences[row + 1]].tolist()
        ids = ids[: text.max_seq_len - marks(pair=False)]
        may = [at for at, piece in enumerate(ids) if piece not in never]
        gaps = sorted(rng.permutation(may)[: max(len(ids) // HIDE_EVERY, 1)].tolist())
        if len(may) >= LEAST and all(ids != each.ids for each in found):
            found.append(Gapped(ids, gaps))
        if len(found) == count:
            break
    return found


def masked_samples(
    model: BertPretraining, tokenizer: Tokenizer, sentences: list[Gapped], device: torch.device
) -> tuple[list[SampledLine], dict[str, float]]:
    """Fills all gaps of each sentence at once, each with its most probable piece.

    Returns:
        The sentences with the share of their gaps that are filled as in the valid split, and the share in all.
    """
    if not sentences:
        return [], {}
    special = tokenizer.ids
    rows = [_replaced(each, [special.mask] * len(each.hidden)) for each in sentences]
    laid = collate_segments(rows, None, special=special)
    ids, real = (torch.from_numpy(array).to(device) for array in (laid.ids, laid.mask))
    at = (ids == special.mask) & torch.from_numpy(laid.text).to(device)
    best = model.mlm_head(model.bert(ids, mask=real)[at]).float().argmax(dim=-1).tolist()
    made: list[SampledLine] = []
    right = 0
    for each in sentences:
        pieces, best = best[: len(each.hidden)], best[len(each.hidden) :]
        same = sum(each.ids[place] == piece for place, piece in zip(each.hidden, pieces, strict=True))
        right += same
        texts = [_spelled(tokenizer, each, fill) for fill in (None, [each.ids[at] for at in each.hidden], pieces)]
        made.append(sampled_line(*texts, score=same / len(each.hidden)))
    return made, {"right": right / sum(len(each.hidden) for each in sentences)}


def _replaced(sentence: Gapped, pieces: list[int]) -> list[int]:
    filled = dict(zip(sentence.hidden, pieces, strict=True))
    return [filled.get(at, piece) for at, piece in enumerate(sentence.ids)]


def _spelled(tokenizer: Tokenizer, sentence: Gapped, fill: list[int] | None) -> str:
    """Returns a sentence as text, with ``[MASK]`` or, in brackets, what fills them at its gaps."""
    pieces = dict(zip(sentence.hidden, fill or sentence.hidden, strict=True))
    parts: list[bytes] = []
    for at, piece in enumerate(sentence.ids):
        if at not in pieces:
            parts.append(tokenizer.spelling(piece))
            continue
        space = b" " if tokenizer.spelling(piece).startswith(b" ") else b""
        inner = tokenizer.spelling(pieces[at]) or tokenizer.piece(pieces[at]).encode()
        parts.append(space + (MASK.encode() if fill is None else b"[" + (inner.removeprefix(b" ") or inner) + b"]"))
    return b"".join(parts).decode("utf-8", "replace").strip()
