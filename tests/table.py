"""Next-piece logits from a table in place of a model, and all that a search could find there."""

import itertools
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from clearhead.decode.hypotheses import penalty_of

BOS, EOS = 0, 1
Ids = tuple[int, ...]


class Table:
    """Next-piece logits drawn at random for each sentence and everything before; remembers who took part."""

    def __init__(self, sentences: Sequence[int], beam: int, *, vocab: int = 4, seed: int = 0, scale: float = 2.0):
        self.vocab, self.seed, self.scale, self.beam = vocab, seed, scale, beam
        self.sentences = list(sentences)
        self.rows: list[Ids] = [() for _ in range(len(self.sentences) * beam)]
        self.present: list[list[int]] = []

    def logits(self, sentence: int, history: Ids) -> list[float]:
        draw = random.Random(f"{self.seed} {sentence} {history}")
        return [draw.gauss(0, self.scale) for _ in range(self.vocab)]

    def log_probs(self, sentence: int, history: Ids) -> list[float]:
        return torch.tensor(self.logits(sentence, history)).log_softmax(0).tolist()

    def advance(self, ids: Tensor) -> Tensor:
        self.present.append(list(self.sentences))
        self.rows = [(*row, piece) for row, piece in zip(self.rows, ids.tolist(), strict=True)]
        owners = [sentence for sentence in self.sentences for _ in range(self.beam)]
        return torch.tensor([self.logits(*both) for both in zip(owners, self.rows, strict=True)])

    def reorder(self, rows: Tensor) -> None:
        assert (rows // self.beam).tolist() == [row // self.beam for row in range(len(self.rows))]
        self.rows = [self.rows[row] for row in rows.tolist()]

    def keep(self, sentences: Tensor) -> None:
        kept = sentences.tolist()
        self.rows = [self.rows[one * self.beam + k] for one in kept for k in range(self.beam)]
        self.sentences = [self.sentences[one] for one in kept]


def brute_force(table: Table, limit: int, penalty: float, sentence: int = 0) -> list[tuple[Ids, float, bool]]:
    """Every way to the end mark or to the limit: (pieces, rank score, complete), best first."""
    found = []
    for length in range(1, limit + 1):
        for ids in itertools.product(range(table.vocab), repeat=length):
            complete = ids[-1] == EOS
            if EOS in ids[:-1] or not (complete or length == limit):
                continue
            steps = [table.log_probs(sentence, (BOS, *ids[:at]))[piece] for at, piece in enumerate(ids)]
            found.append((ids[:-1] if complete else ids, sum(steps) / penalty_of(length, penalty), complete))
    return sorted(found, key=lambda one: (not one[2], -one[1]))
