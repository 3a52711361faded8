"""Greedy and beam search over a batch of sentences; knows nothing of what computes the logits."""

import math
from bisect import bisect_right
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from clearhead.decode.constraints import Constraints, take_turns
from clearhead.decode.decoding import Decoding, rows_of
from clearhead.decode.hypotheses import Hypothesis, SearchConfig, TextOf, penalty_of
from clearhead.decode.rules import Rule
from clearhead.progress import GOING_ON


class _Pool:
    """The finished hypotheses of a sentence, complete ones first, then best first: ``size`` of them at the most.

    Of those that read alike only the best is kept; without ``text_of`` pieces are what a reader sees.
    """

    def __init__(self, size: int, text_of: TextOf | None) -> None:
        self._size, self._text_of, self._texts = size, text_of or tuple, list[Hashable]()
        self.ranked: list[Hypothesis] = []

    def add(self, hypothesis: Hypothesis) -> None:
        """Takes one in; incomplete ones must come as they stand in the beam: best first, or fewest missing first."""
        text = self._text_of(hypothesis.ids)
        if text in self._texts:
            at = self._texts.index(text)
            if _order(self.ranked[at]) <= _order(hypothesis):
                return
            del self.ranked[at], self._texts[at]
        place = bisect_right(self.ranked, _order(hypothesis), key=_order)
        self.ranked.insert(place, hypothesis)
        self._texts.insert(place, text)
        del self.ranked[self._size :], self._texts[self._size :]


def _order(hypothesis: Hypothesis) -> tuple[bool, float]:
    return not hypothesis.complete, -hypothesis.rank_score if hypothesis.complete else 0.0


@dataclass
class _Live:
    """The sentences still being decoded: B of them with K rows each."""

    sentences: Tensor
    """[B], which sentence of the batch each is."""
    limits: Tensor
    """[B], most pieces of each sentence, end mark included."""
    scores: Tensor
    """[B, K], sums of log-probabilities; -inf where a beam is not in use."""
    ids: Tensor
    """[B * K, longest limit], pieces so far."""
    log_probs: Tensor
    """[B * K, longest limit], of each piece."""
    length: int = 0
    pools: list[_Pool] = field(default_factory=list)
    """By sentence of the batch."""


@dataclass
class Expansion:
    """One step of a search: candidates (C for each of B sentences), best first, and the K of them that go on."""

    sentences: Tensor
    """[B], which sentence of the batch each is."""
    parents: Tensor
    """[B, C], the beam that each candidate goes on from."""
    pieces: Tensor
    """[B, C], its next piece."""
    log_probs: Tensor
    """[B, C], of that piece."""
    rating: Tensor
    """[B, C], what candidates are ordered by; -inf at places that hold no candidate."""
    ends: Tensor
    """[B, C], whether its piece is the end mark; it is finished if it is among the first K, otherwise dropped."""
    kept: Tensor
    """[B, K], the candidates that are the next beams."""
    scores: Tensor
    """[B, K], scores of the next beams; -inf where a beam is not in use."""
    rows: Tensor
    """[B * K], the row that each next beam goes on from."""
    ended: list[bool] = field(default_factory=list)
    """[B], which sentences are over."""


def beam_search(  # noqa: PLR0913 - all that decides a search, by name
    decoding: Decoding,
    config: SearchConfig,
    *,
    limits: Sequence[int],
    bos_id: int,
    eos_id: int,
    rules: Sequence[Rule] = (),
    constraints: Constraints | None = None,
    text_of: TextOf | None = None,
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """Finds the best hypotheses of each sentence; arguments and result are those of ``search_steps``."""
    steps = search_steps(
        decoding,
        config,
        limits=limits,
        bos_id=bos_id,
        eos_id=eos_id,
        rules=rules,
        constraints=constraints,
        text_of=text_of,
        device=device,
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            hypotheses: list[list[Hypothesis]] = end.value
            return hypotheses


def search_steps(  # noqa: PLR0913 - all that decides a search, by name
    decoding: Decoding,
    config: SearchConfig,
    *,
    limits: Sequence[int],
    bos_id: int,
    eos_id: int,
    rules: Sequence[Rule] = (),
    constraints: Constraints | None = None,
    text_of: TextOf | None = None,
    device: torch.device | str = "cpu",
) -> Generator[Expansion, None, list[list[Hypothesis]]]:
    """Finds the best hypotheses of each sentence, and yields what every step did.

    A sentence ends only when no live hypothesis could still come among its ``n_best``: a live score can only fall, and
    what it will be divided by is at most the penalty at the length limit. Sentences that end leave the batch, and no
    sentence depends on another.

    Args:
        decoding: at its start.
        config: beam, n_best, length penalty; its limit is for those who make ``limits``.
        limits: most pieces of each sentence, end mark included.
        bos_id: what every row starts with.
        eos_id: what ends a hypothesis.
        rules: change scores of next pieces in place, in this order.
        constraints: what hypotheses must contain; a hypothesis that does not by its limit is not complete. Needs a
            beam of 2 or more.
        text_of: by what two hypotheses of a sentence differ, if several are returned; None: by their pieces.
        device: of the logits.

    Returns:
        Per sentence ``n_best`` hypotheses or fewer, best first.
    """
    if constraints is not None and config.beam == 1:
        raise ValueError("beam = 1: must be at least 2 with constraints")
    live = _begin(limits, config.beam, device)
    live.pools = [_Pool(config.beam, text_of if config.n_best > 1 else None) for _ in limits]
    pieces = torch.full((len(limits) * config.beam,), bos_id, device=device)
    go_on = GOING_ON.get()
    while len(live.sentences):
        go_on()
        with torch.inference_mode():  # by the step: a caller between the steps is outside
            logits, penalty = decoding.advance(pieces), config.length_penalty
            step = _extend(live, logits, eos_id=eos_id, rules=rules, constraints=constraints, penalty=penalty)
            if config.beam > 1:
                decoding.reorder(step.rows)
            step.ended = _ended(live, config)
            if any(step.ended):
                stay = torch.tensor([row for row, end in enumerate(step.ended) if not end], device=device).long()
                _leave(live, step.ended, stay, config, constraints)
                decoding.keep(stay)
            pieces = live.ids[:, live.length - 1]
        yield step
    return [pool.ranked[: config.n_best] for pool in live.pools]


def _begin(limits: Sequence[int], beam: int, device: torch.device | str) -> _Live:
    count, longest = len(limits), max(limits, default=0)
    scores = torch.full((count, beam), float("-inf"), device=device)
    scores[:, 0] = 0.0
    return _Live(
        sentences=torch.arange(count, device=device),
        limits=torch.tensor(limits, device=device),
        scores=scores,
        ids=torch.zeros(count * beam, longest, dtype=torch.long, device=device),
        log_probs=torch.zeros(count * beam, longest, device=device),
    )


def _extend(
    live: _Live,
    logits: Tensor,
    *,
    eos_id: int,
    rules: Sequence[Rule],
    constraints: Constraints | None,
    penalty: float,
) -> Expansion:
    """Gives every live beam its best next piece and moves finished hypotheses to the pools."""
    sentences, beam = live.scores.shape
    # one pass over the vocabulary; the top probability is never 0
    log_z = (logits.amax(dim=-1) - logits.softmax(dim=-1).amax(dim=-1).log()).view(sentences, beam, 1)
    scores = logits.view(sentences, beam, -1)
    ids = live.ids.view(sentences, beam, -1)[:, :, : live.length]
    for rule in rules:
        rule(scores, ids, live.sentences)
    # the best K live ones are among the K + 1 best pieces of each row, of which one at the most ends the hypothesis
    width = min(beam + 1, scores.shape[2]) if beam > 1 else 1
    if constraints is None:
        top, pieces = scores.topk(width, dim=-1) if width > 1 else scores.max(dim=-1, keepdim=True)
    else:
        top, pieces, missing = constraints.candidates(scores, ids, live.sentences, width)
        width = top.shape[2]
    log_probs = top - log_z
    total = (live.scores[:, :, None] + log_probs).flatten(1)  # sentences (beam width)
    rating = total
    if constraints is not None:
        rating = take_turns(total, missing.flatten(1), pieces.flatten(1) == eos_id, beam)
    best, at = rating.topk(min(2 * beam, total.shape[1]) if beam > 1 else 1, dim=-1)
    parents, first = at // width, torch.arange(sentences, device=at.device)[:, None] * beam
    pieces, log_probs = pieces.flatten(1).gather(1, at), log_probs.flatten(1).gather(1, at)
    ends = pieces == eos_id
    _collect(live, (ends & torch.isfinite(best))[:, :beam], parents + first, log_probs, penalty=penalty)
    live.scores, rank = _best_live(best.masked_fill(ends, float("-inf")), beam)
    if constraints is not None:
        live.scores = torch.where(live.scores.isfinite(), total.gather(1, at.gather(1, rank)), live.scores)
    rows = (parents.gather(1, rank) + first).flatten()
    if beam > 1:
        live.ids, live.log_probs = live.ids[rows], live.log_probs[rows]
    live.ids[:, live.length] = pieces.gather(1, rank).flatten()
    live.log_probs[:, live.length] = log_probs.gather(1, rank).flatten()
    live.length += 1
    return Expansion(live.sentences, parents, pieces, log_probs, best, ends, rank, live.scores, rows)


def _best_live(scores: Tensor, beam: int) -> tuple[Tensor, Tensor]:
    """The ``beam`` best candidates; where a small vocabulary has fewer, the missing ones have score -inf."""
    best, rank = scores.topk(min(beam, scores.shape[1]), dim=-1)
    missing = beam - best.shape[1]
    if missing:
        best = torch.nn.functional.pad(best, (0, missing), value=float("-inf"))
        rank = torch.nn.functional.pad(rank, (0, missing))
    return best, rank


def _collect(live: _Live, ends: Tensor, parents: Tensor, log_probs: Tensor, *, penalty: float) -> None:
    """Moves candidates that end, those among the ``beam`` best, to their sentences' pools."""
    for sentence, rank in ends.nonzero().tolist():
        last = float(log_probs[sentence, rank])
        hypothesis = _hypothesis(live, int(parents[sentence, rank]), [last], penalty)
        live.pools[int(live.sentences[sentence])].add(hypothesis)


def _hypothesis(live: _Live, row: int, end: list[float], penalty: float) -> Hypothesis:
    log_probs = live.log_probs[row, : live.length].tolist() + end
    score = math.fsum(log_probs)
    rank_score = score / penalty_of(len(log_probs), penalty)
    return Hypothesis(live.ids[row, : live.length].tolist(), log_probs, score, rank_score, complete=bool(end))


def _ended(live: _Live, config: SearchConfig) -> list[bool]:
    """Which sentences are over: at their limit, without a live beam, or with no live beam that could still win."""
    ended = []
    rows = zip(live.sentences.tolist(), live.limits.tolist(), live.scores.max(dim=1).values.tolist(), strict=True)
    for sentence, limit, best in rows:
        ranked = live.pools[sentence].ranked
        over = live.length >= limit or best == float("-inf")
        if not over and len(ranked) >= config.n_best:
            over = best / penalty_of(limit, config.length_penalty) <= ranked[config.n_best - 1].rank_score
        ended.append(over)
    return ended


def _leave(live: _Live, ended: list[bool], stay: Tensor, config: SearchConfig, constraints: Constraints | None) -> None:
    """Takes ended sentences out; where too few hypotheses are finished, the best live ones fill the pool."""
    beam = live.scores.shape[1]
    whole = live.scores.isfinite()
    if constraints is not None:  # what misses a phrase has not been cut off from an end
        whole &= constraints.met(live.ids.view(len(ended), beam, -1)[:, :, : live.length], live.sentences)
    for row in (row for row, end in enumerate(ended) if end):
        pool = live.pools[int(live.sentences[row])]
        if pool.ranked and pool.ranked[0].complete and live.length >= int(live.limits[row]):
            cut = live.scores[row].masked_fill(~whole[row], float("-inf")).max()
            _mark(pool.ranked, float(cut) / penalty_of(live.length, config.length_penalty))
        for k in range(beam):
            if len(pool.ranked) < config.n_best and torch.isfinite(live.scores[row, k]):
                pool.add(_hypothesis(live, row * beam + k, [], config.length_penalty))
    rows = rows_of(stay, beam)
    live.sentences, live.limits, live.scores = live.sentences[stay], live.limits[stay], live.scores[stay]
    live.ids, live.log_probs = live.ids[rows], live.log_probs[rows]


def _mark(ranked: list[Hypothesis], cut: float) -> None:
    """Marks the hypotheses that go before one with the rank score ``cut`` because they are complete."""
    ranked[:] = [replace(each, cut_better=each.rank_score < cut) for each in ranked]
