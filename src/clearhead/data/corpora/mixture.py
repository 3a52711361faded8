"""How much of a training each of several corpora gets, and which of its rows an epoch has."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from clearhead.ranges import Scale

_MARK = re.compile("[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class Corpus:
    """One of several texts that a model is trained on."""

    path: str = ""
    """Its folder, or its file if it is text for a language model, as seen from the folder of ``--data``."""
    name: str = ""
    """What reports and scores call it; empty: the last part of ``path``."""
    weight: Scale = 1.0
    """Factor of its share in what is drawn: 2 draws it twice as often, as against the others."""

    @property
    def label(self) -> str:
        """Its name, given or not."""
        return self.name or PurePath(self.path).name


@dataclass(frozen=True)
class ParallelCorpus(Corpus):
    """One of several parallel texts; what is left empty is that of the recipe."""

    src: str = ""
    """Source language: the ending of its files."""
    tgt: str = ""
    """Target language. Where the corpora have several, each source begins with a piece that says its target."""
    train: str = ""
    """Stem of the training files."""
    valid: str = ""
    """Stem of the validation files; a corpus that has none is not scored in training."""
    test: str = ""
    """Stem of the test files."""
    tag: str = ""
    """Kind of its text, such as ``bt``: each source begins with a piece of that name, which no other text has."""
    judged: bool = True
    """Whether its scores count in the mean that chooses the best checkpoint; false: they are shown alone."""

    def __post_init__(self) -> None:
        if self.tag and (not _MARK.fullmatch(self.tag) or self.tag in ("pad", "s", "unk")):
            rule = "must be of a-z, 0-9, _ and -, begin with a letter, and not be pad, s or unk"
            raise ValueError(f"data.corpora: tag = {self.tag!r}: {rule}")


def check_names(corpora: Sequence[Corpus]) -> None:
    """Raises ValueError if two corpora have one name, by which they could not be told apart, or one has no path."""
    for number, corpus in enumerate(corpora, 1):
        if not corpus.path:
            raise ValueError(f"data.corpora: table {number} has no path, which is the folder of its text")
    twice = [name for name, count in Counter(corpus.label for corpus in corpora).items() if count > 1]
    if twice:
        raise ValueError(f"data.corpora: two are called {twice[0]!r}; give one of them another name")


def shares(sizes: Sequence[int], corpora: Sequence[Corpus], temperature: float) -> list[float]:
    """Returns the share of each corpus in what is drawn: weight * size ** (1 / temperature), over the sum of all.

    With temperature 1 and equal weights every row is as frequent as every other (Arivazhagan et al. 2019,
    arXiv:1907.05019).

    Args:
        sizes: rows of each.
        corpora: with their weights.
        temperature: 1 or more.
    """
    parts = [corpus.weight * size ** (1 / temperature) for size, corpus in zip(sizes, corpora, strict=True)]
    return [part / sum(parts) for part in parts]


def counts(sizes: Sequence[int], corpora: Sequence[Corpus], temperature: float) -> list[int]:
    """Returns how many rows of each corpus are drawn where as many are drawn in all as there are; one at least."""
    parts = shares(sizes, corpora, temperature)
    return [max(1, round(part * sum(sizes))) for part in parts]


def drawn(size: int, count: int, *, seed: int, corpus: int, epoch: int) -> Int[ndarray, " count"]:
    """Returns the numbers of the rows that an epoch has of a corpus.

    A corpus is drawn in passes, each in an order of its own, from (seed, number of the corpus, number of the pass); an
    epoch goes on where the one before has ended. So no row comes a second time before all others have come once.

    Args:
        size: rows of the corpus.
        count: rows that are drawn in an epoch.
        seed: of the run.
        corpus: its number.
        epoch: its number, from 0.
    """
    rows = [
        order(size, seed=seed, corpus=corpus, turn=turn)[first:last]
        for turn, first, last, _ in spans(size, count, epoch)
    ]
    return np.concatenate(rows)


def order(size: int, *, seed: int, corpus: int, turn: int) -> Int[ndarray, " size"]:
    """Returns the order of a pass over the rows of a corpus."""
    return np.random.default_rng([seed, corpus, turn]).permutation(size).astype(np.int32)


def spans(size: int, count: int, epoch: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields the passes that an epoch has a part of: number, begin and end of the part, and what a whole pass has.

    Args:
        size: rows of a corpus, or pieces of a text.
        count: of them in an epoch.
        epoch: its number, from 0.
    """
    at, end = epoch * count, (epoch + 1) * count
    while at < end:
        turn = at // size
        stop = min(end, (turn + 1) * size)
        yield turn, at - turn * size, stop - turn * size, size
        at = stop


def copies(count: int, size: int) -> Iterator[int]:
    """Yields how often to take each of ``size`` lines, so that ``count`` are taken in all, as evenly as can be."""
    for line in range(size):
        yield (line + 1) * count // size - line * count // size
