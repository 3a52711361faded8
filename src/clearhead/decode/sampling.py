"""Sampling the next piece: penalties and bans, a kept set, and one number that decides; knows no model.

Three pure steps: ``adjust`` changes logits by what each row holds so far, ``filtered`` keeps the pieces that may be
drawn, ``choose`` draws one. Rows are independent: batch mates, padding and torch's own generator change nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from clearhead.engine.loops.sampling import SamplingConfig, uniform_of
from clearhead.errors import ModelError, UsageError

Logits = Float[Tensor, "rows vocab"]
OFF = float("-inf")


@dataclass(frozen=True)
class History:
    """The pieces of each row so far."""

    ids: Int[Tensor, "rows longest"]
    """Prompt and generated pieces from column 0 on; columns after a row's last piece are padding of any value."""
    lengths: Int[Tensor, " rows"]
    """Pieces of each row."""
    prompts: Int[Tensor, " rows"]
    """How many of each row's pieces are the prompt's."""

    def since(self, first: Int[Tensor, "rows 1"] | int) -> Bool[Tensor, "rows longest"]:
        """True at real pieces from place ``first`` on."""
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        return (places >= first) & (places < self.lengths[:, None])

    def tail(self, count: int) -> Int[Tensor, "rows count"]:
        """The last pieces of each row; meaningless where a row has fewer than ``count``."""
        places = self.lengths[:, None] - count + torch.arange(count, device=self.ids.device)
        return self.ids.gather(1, places.clamp(min=0).long())


def adjust(
    logits: Logits,
    history: History,
    config: SamplingConfig,
    *,
    eos_id: int,
    min_length: int = 0,
    bad_words: Sequence[Sequence[int]] = (),
) -> Logits:
    """Applies biases, repetition, presence and frequency penalties and then bans: n-grams, bad words, an early end.

    Args:
        logits: of the next piece; not changed.
        history: the pieces of the rows so far.
        config: biases, penalties and the n-gram length.
        eos_id: the piece that ends a text.
        min_length: generated pieces before ``eos_id`` may come.
        bad_words: sequences of pieces of which the last never follows the others; the prompt counts.

    Raises:
        ModelError: NaN or +inf among the logits, or no piece is left (names row and position).
        UsageError: one of the bad words is empty.
    """
    if not all(bad_words):
        raise UsageError("bad_words holds an empty sequence: each must be of one piece or more")
    if config.bias:
        pieces, added = zip(*config.bias, strict=True)
        logits = logits.index_add(1, history.ids.new_tensor(pieces), logits.new_tensor(added).expand(len(logits), -1))
    _best(logits, history.lengths)
    banned = _banned(history, config.no_repeat_ngram, bad_words, logits.shape[1])
    banned[:, eos_id] |= history.lengths - history.prompts < min_length
    logits = _penalized(logits, history, config).masked_fill(banned, OFF)
    best = logits.amax(dim=-1, keepdim=True)
    _refuse(best == OFF, best, "every piece is banned or impossible", history.lengths)
    return logits


def filtered(logits: Logits, config: SamplingConfig) -> Float64[Tensor, "rows vocab"]:
    """Returns scores of the pieces that may be drawn, -inf for all others; a softmax gives their probabilities.

    In Hugging Face's order: temperature, top-k, top-p, min-p, typical. Each filter sees what those before it have left,
    and leaves at least a piece. The best score becomes 0, so that no temperature overflows; with temperature 0 only the
    best piece is left.

    Raises:
        ModelError: NaN or +inf among the logits, or no piece is left (names the row).
    """
    best = _best(logits)
    if logits.device.type == "mps":  # has no float64
        logits, best = logits.cpu(), best.cpu()
    if config.temperature == 0:
        nothing = torch.full_like(logits, OFF, dtype=torch.float64)
        return nothing.scatter(1, logits.argmax(dim=-1, keepdim=True), 0.0)
    scores = (logits.double() - best) / config.temperature
    if config.top_k:
        last = scores.topk(min(config.top_k, scores.shape[1]), dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < last, OFF)
    if config.top_p < 1:
        scores = scores.masked_fill(~_in_nucleus(scores, config.top_p), OFF)
    if config.min_p:
        scores = scores.masked_fill(scores < math.log(config.min_p), OFF)
    if config.typical_p < 1:
        scores = scores.masked_fill(~_is_typical(scores, config.typical_p), OFF)
    return scores


def choose(logits: Logits, config: SamplingConfig, uniforms: Float64[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Draws the next piece of each row from the pieces that ``filtered`` keeps; raises as it does.

    Args:
        logits: of the next piece, adjusted.
        config: temperature and kept set.
        uniforms: one number in [0, 1) a row, as ``uniforms_of`` gives; not read with temperature 0.
    """
    if config.temperature == 0:
        _best(logits)
        return logits.argmax(dim=-1)  # the first of equal ones
    return draw(filtered(logits, config).softmax(dim=-1), uniforms).to(logits.device)


def draw(probs: Float64[Tensor, "rows vocab"], uniforms: Float64[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Returns the first piece at which the running sum of ``probs`` exceeds the row's number (inverse CDF).

    ``probs`` need not sum to 1. A piece of probability 0 is never drawn; a number that lies beyond the sum by rounding
    draws the last possible piece. Raises ModelError for a row without probability, or with NaN.
    """
    # sums of impossible pieces are struck out: on a GPU they may differ from their neighbour's by rounding
    reached = probs.cumsum(dim=-1).masked_fill(probs == 0, 0.0)
    total = reached.amax(dim=-1, keepdim=True)
    _refuse(~((total > 0) & total.isfinite()), total, "the probabilities of the next piece sum to {}")
    goal = torch.minimum(uniforms.to(probs)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return (reached > goal).int().argmax(dim=-1)


def uniforms_of(seed: int, sample_indices: Sequence[int], positions: Sequence[int]) -> Float64[Tensor, " rows"]:
    """Returns ``uniform_of`` for each row."""
    numbers = [uniform_of(seed, *row) for row in zip(sample_indices, positions, strict=True)]
    return torch.tensor(numbers, dtype=torch.float64)


def _best(logits: Tensor, positions: Tensor | None = None) -> Tensor:
    """Returns the best logit of each row [rows, 1]; raises where it is NaN, +inf, or -inf (no piece is left)."""
    best = logits.amax(dim=-1, keepdim=True)
    _refuse(~torch.isfinite(best), best, "the best logit is {}, so no piece can be chosen", positions)
    return best


def _refuse(wrong: Tensor, values: Tensor, message: str, positions: Tensor | None = None) -> None:
    """Raises ModelError for the first row that is ``wrong``, [rows, 1] as its ``values``."""
    if wrong.any():
        row = int(wrong.int().argmax())
        place = f"row {row}" if positions is None else f"row {row}, position {int(positions[row])}"
        raise ModelError(f"{place}: {message.format(float(values[row]))}")


def _counts(ids: Tensor, taken: Tensor, vocab: int) -> Tensor:
    """How often each piece stands in a row where ``taken`` is True: [rows, n], [rows, n] -> [rows, vocab]."""
    counts = torch.zeros(len(ids), vocab + 1, device=ids.device)  # the last column is for what does not count
    counts.scatter_add_(1, torch.where(taken, ids, vocab).long(), torch.ones_like(ids, dtype=counts.dtype))
    return counts[:, :vocab]


def _penalized(logits: Tensor, history: History, config: SamplingConfig) -> Tensor:
    vocab, penalty = logits.shape[1], config.repetition_penalty
    if penalty != 1:
        seen = _counts(history.ids, history.since(0), vocab) > 0
        logits = torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
    if config.presence_penalty or config.frequency_penalty:
        counts = _counts(history.ids, history.since(history.prompts[:, None]), vocab)
        logits = logits - config.frequency_penalty * counts - config.presence_penalty * (counts > 0)
    return logits


def _banned(history: History, ngram: int, bad_words: Sequence[Sequence[int]], vocab: int) -> Tensor:
    """True at pieces that would complete one of ``bad_words`` or an n-gram of the row: [rows, vocab]."""
    rows, longest = history.ids.shape
    banned = torch.zeros(rows, vocab, dtype=torch.bool, device=history.ids.device)
    if 0 < ngram <= longest:
        runs = history.ids.unfold(1, ngram, 1)  # rows starts ngram
        begun = (runs[..., :-1] == history.tail(ngram - 1)[:, None]).all(dim=-1)
        banned |= _counts(runs[..., -1], begun & history.since(0)[:, ngram - 1 :], vocab) > 0
    for size, words in groupby(sorted(bad_words, key=len), key=len):
        if size - 1 <= longest:
            table = torch.tensor(list(words), device=history.ids.device)  # words size
            begun = (history.tail(size - 1)[:, None] == table[:, :-1]).all(dim=-1)
            begun &= history.lengths[:, None] >= size - 1
            banned |= _counts(table[:, -1].expand_as(begun), begun, vocab) > 0
    return banned


def _in_nucleus(scores: Tensor, mass: float) -> Tensor:
    ranked, ids = scores.sort(dim=-1, descending=True, stable=True)
    probs = ranked.softmax(dim=-1)
    kept = probs.cumsum(dim=-1) - probs < mass  # as long as the pieces before have not enough
    kept[:, 0] = True
    return torch.zeros_like(kept).scatter(1, ids, kept)


def _is_typical(scores: Tensor, mass: float) -> Tensor:
    log_probs = scores.log_softmax(dim=-1)
    probs = log_probs.exp()
    entropy = -(log_probs * probs).nansum(dim=-1, keepdim=True)  # 0 * -inf counts as 0
    strangeness = (-log_probs - entropy).abs()
    ranked, ids = strangeness.sort(dim=-1, stable=True)
    last = (probs.gather(1, ids).cumsum(dim=-1) < mass).sum(dim=-1, keepdim=True)
    return strangeness <= ranked.gather(1, last.clamp(max=scores.shape[-1] - 1))
