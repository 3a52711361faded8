"""The tree of a beam search: every hypothesis with its scores by piece, and when and why it died."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from clearhead.brief import Brief
from clearhead.decode.decoding import Decoding
from clearhead.decode.hypotheses import Hypothesis, SearchConfig, TextOf, penalty_of
from clearhead.decode.rules import Rule
from clearhead.decode.search import Expansion, search_steps

Fate = Literal[
    "went on", "finished", "pushed out", "same text", "late end", "not kept", "outranked", "overtaken", "limit"
]
"""What became of a hypothesis:

- went on: a continuation of it was kept or finished.
- finished: it ended, and is one of the ``beam`` best that did.
- pushed out: it ended, and ``beam`` others that did have better rank scores.
- same text: it ended, and another that reads the same did with a better rank score; only where several are returned.
- late end: it ended, but ranked below the first ``beam`` candidates of its step, so it does not count.
- not kept: it was a candidate, ranked below those that fill the beam.
- outranked: it was kept, and none of its continuations was.
- overtaken: it was live when the search stopped because no live one could still come among the ``n_best``.
- limit: it was kept at the length limit.
"""


@dataclass(frozen=True)
class Node:
    """One hypothesis: its parent's pieces and one more."""

    parent: int | None
    """Its place in ``BeamTree.nodes``; None follows the begin mark."""
    step: int
    """From 1: how many pieces it has."""
    piece: int
    log_prob: float
    """Of the piece, in nats."""
    score: float
    """Sum of the path."""
    rank_score: float
    """The score with the length penalty of an end here."""
    rank: int
    """From 1: its place among the candidates of its step."""
    fate: Fate
    died: int | None
    """The step in which its fate was decided; None where it went on or is finished."""


@dataclass(frozen=True)
class BeamTree(Brief):
    """All hypotheses of one sentence, parents first, and which of them were returned, best first."""

    nodes: list[Node]
    returned: list[int]

    def path(self, node: int) -> list[int]:
        """Returns the places of a hypothesis's pieces, the first one first."""
        places: list[int] = []
        at: int | None = node
        while at is not None:
            places.append(at)
            at = self.nodes[at].parent
        return places[::-1]


class TreeBuilder:
    """Takes the steps of a search, then what it returned.

    Args:
        config: of the search.
        limit: most pieces of the sentence, end mark included.
        sentence: which of the batch.
    """

    def __init__(self, config: SearchConfig, *, limit: int, sentence: int = 0) -> None:
        self.config, self.limit, self.sentence = config, limit, sentence
        self._nodes: list[Node] = []
        self._beams: list[int | None] = [None] * config.beam
        """The nodes of the live beams."""
        self._step = 0

    def add(self, step: Expansion) -> None:
        """Grows the tree by the candidates of one step."""
        sentences = step.sentences.tolist()
        if self.sentence not in sentences:
            return
        row, beam, first = sentences.index(self.sentence), self.config.beam, len(self._nodes)
        self._step += 1
        parents, pieces, log_probs, ratings, ends = (
            values[row].tolist() for values in (step.parents, step.pieces, step.log_probs, step.rating, step.ends)
        )
        kept = [
            place if math.isfinite(score) else None
            for place, score in zip(step.kept[row].tolist(), step.scores[row].tolist(), strict=True)
        ]
        for place in (place for place, rating in enumerate(ratings) if math.isfinite(rating)):
            fate: Fate = "limit" if place in kept else "not kept"
            if ends[place]:
                fate = "finished" if place < beam else "late end"
            self._grow(self._beams[parents[place]], pieces[place], log_probs[place], place + 1, fate)
        alive = {self._nodes[at].parent for at in range(first, len(self._nodes)) if self._goes_on(at)}
        for at in self._beams:
            if at is not None:
                self._decide(at, "went on" if at in alive else "outranked")
        self._beams = [None if place is None else first + place for place in kept]

    def finish(self, returned: Iterable[Hypothesis], *, eos_id: int, text_of: TextOf | None = None) -> BeamTree:
        """Returns the tree; ``returned`` is what the search gave for the sentence, ``text_of`` what it was given."""
        tree = BeamTree(self._nodes, [])
        ended = [at for at, node in enumerate(self._nodes) if node.fate == "finished"]
        ended.sort(key=lambda at: -self._nodes[at].rank_score)
        texts = set[Hashable]()
        for end in ended:
            pieces = [self._nodes[node].piece for node in tree.path(end)]
            text = text_of(pieces[:-1]) if text_of and self.config.n_best > 1 else tuple(pieces)
            if text in texts or len(texts) >= self.config.beam:
                self._decide(end, "same text" if text in texts else "pushed out")
            texts.add(text)
        if self._step < self.limit:
            for at in self._beams:
                if at is not None:
                    self._decide(at, "overtaken")
        places = {tuple(self._nodes[node].piece for node in tree.path(at)): at for at in range(len(self._nodes))}
        tree.returned.extend(places[(*each.ids, *[eos_id] * each.complete)] for each in returned)
        return tree

    def _grow(self, parent: int | None, piece: int, log_prob: float, rank: int, fate: Fate) -> None:
        path = [log_prob]
        at = parent
        while at is not None:
            path.append(self._nodes[at].log_prob)
            at = self._nodes[at].parent
        score = math.fsum(path)
        rank_score = score / penalty_of(self._step, self.config.length_penalty)
        died = None if fate == "finished" else self._step
        self._nodes.append(Node(parent, self._step, piece, log_prob, score, rank_score, rank, fate, died))

    def _goes_on(self, at: int) -> bool:
        return self._nodes[at].fate in ("limit", "finished")

    def _decide(self, at: int, fate: Fate) -> None:
        died = None if fate in ("went on", "finished") else self._step
        self._nodes[at] = replace(self._nodes[at], fate=fate, died=died)


def grow_tree(
    decoding: Decoding,
    config: SearchConfig,
    *,
    limit: int,
    bos_id: int,
    eos_id: int,
    rules: Sequence[Rule] = (),
    text_of: TextOf | None = None,
    device: torch.device | str = "cpu",
) -> BeamTree:
    """Searches for one sentence as ``beam_search`` does and returns the tree; arguments as there."""
    builder = TreeBuilder(config, limit=limit)
    steps = search_steps(
        decoding,
        config,
        limits=[limit],
        bos_id=bos_id,
        eos_id=eos_id,
        rules=rules,
        text_of=text_of,
        device=device,
    )
    while True:
        try:
            builder.add(next(steps))
        except StopIteration as end:
            return builder.finish(end.value[0], eos_id=eos_id, text_of=text_of)
