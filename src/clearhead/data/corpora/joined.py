"""Several encoded corpora as one: their pairs side by side, the tags of their languages, their share of an epoch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import NDArray

from clearhead.data.corpora.mixture import ParallelCorpus, counts, drawn
from clearhead.data.corpora.report import CorpusReport
from clearhead.data.store import PairStore


@dataclass(frozen=True)
class EncodedCorpus:
    """A corpus and its pairs."""

    corpus: ParallelCorpus
    """With both languages."""
    store: PairStore
    lead: tuple[int, ...] = ()
    """The pieces before each source that say the language of the target and the kind of text."""


class JoinedPairs:
    """The pairs of several corpora, numbered one after another; to be used as a ``PairStore``.

    Args:
        parts: the corpora.
        temperature: of their shares, see ``shares``.
    """

    def __init__(self, parts: Sequence[EncodedCorpus], temperature: float = 1.0) -> None:
        self.parts = list(parts)
        self.special = parts[0].store.special
        sizes = [len(part.store) for part in parts]
        self._ends = np.cumsum(sizes)
        self.counts = counts(sizes, [part.corpus for part in parts], temperature)
        """Pairs of each corpus in an epoch."""

    def __len__(self) -> int:
        return int(self._ends[-1])

    def src(self, index: int) -> NDArray[Any]:
        """Returns the source ids of a pair, behind the tags of its corpus and its context."""
        return self._led(index, PairStore.src)

    def line(self, index: int) -> NDArray[Any]:
        """Returns the source ids of a pair without its context, behind the tags of its corpus."""
        return self._led(index, PairStore.line)

    def context(self, index: int) -> list[int]:
        """See ``PairStore``."""
        part, row = self._at(index)
        return part.store.context(row)

    def tgt(self, index: int) -> NDArray[Any]:
        """Returns the target ids of a pair."""
        part, row = self._at(index)
        return part.store.tgt(row)

    def text(self, index: int) -> tuple[str, str]:
        """Returns the two lines of a pair, without a tag."""
        part, row = self._at(index)
        return part.store.text(row)

    def lead(self, index: int) -> list[int]:
        """Returns all that stands before the source line of a pair: the tags of its corpus, and its context."""
        return [*self._at(index)[0].lead, *self.context(index)]

    @cached_property
    def lengths(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Number of pieces of every source, tags and context included, and of every target."""
        return self._lengths([part.store.lengths for part in self.parts])

    @cached_property
    def line_lengths(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Number of pieces of every source, tags included but no context, and of every target."""
        return self._lengths([part.store.line_lengths for part in self.parts])

    def _lengths(
        self, stores: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        src = [own + np.int32(len(part.lead)) for part, (own, _) in zip(self.parts, stores, strict=True)]
        return np.concatenate(src), np.concatenate([tgt for _, tgt in stores])

    def rows(self, seed: int, epoch: int) -> Int[ndarray, " rows"]:
        """Returns the numbers of the pairs that an epoch has, see ``drawn``."""
        begins = self._ends - [len(part.store) for part in self.parts]
        sizes = [len(part.store) for part in self.parts]
        each = [
            drawn(size, count, seed=seed, corpus=number, epoch=epoch) + np.int32(begin)
            for number, (size, count, begin) in enumerate(zip(sizes, self.counts, begins, strict=True))
        ]
        return np.concatenate(each)

    def where(self, indices: Iterable[int]) -> dict[str, list[int]]:
        """Returns the numbers of the lines that pairs come from, by the name of their corpus."""
        lines: dict[str, list[int]] = {}
        for part, row in map(self._at, indices):
            lines.setdefault(part.corpus.label, []).append(int(part.store.line_numbers[row]))
        return lines

    @property
    def report(self) -> "MixtureReport":
        """What became of the lines of each corpus, and how much of a training each gets."""
        return MixtureReport.of(self)

    def release(self) -> None:
        """See ``PairStore``."""
        for part in self.parts:
            part.store.release()

    def _led(self, index: int, of: Callable[[PairStore, int], NDArray[Any]]) -> NDArray[Any]:
        part, row = self._at(index)
        ids = of(part.store, row)
        return np.concatenate([np.array(part.lead, ids.dtype), ids]) if part.lead else ids

    def _at(self, index: int) -> tuple[EncodedCorpus, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self.parts[number]
        return part, int(index) - int(self._ends[number]) + len(part.store)


@dataclass(frozen=True)
class MixtureReport:
    """What became of the lines of several corpora, and the share of each in what is drawn."""

    corpora: list[ParallelCorpus]
    reports: list[CorpusReport]
    counts: list[int]
    """Pairs of each in an epoch."""
    pieces: list[int]
    """Target pieces of these pairs, end marks included, as they are on average."""

    @classmethod
    def of(cls, joined: JoinedPairs) -> "MixtureReport":
        """Returns the report on joined corpora."""
        stores = [part.store for part in joined.parts]
        means = [float(store.lengths[1].mean()) + 1 for store in stores]
        pieces = [round(count * mean) for count, mean in zip(joined.counts, means, strict=True)]
        return cls([part.corpus for part in joined.parts], [store.report for store in stores], joined.counts, pieces)

    @property
    def pairs(self) -> int:
        """Pairs of all corpora."""
        return sum(report.pairs for report in self.reports)

    @property
    def dropped(self) -> dict[str, int]:
        """Lines of all corpora that were dropped, by reason."""
        reasons = {reason for report in self.reports for reason in report.dropped}
        return {reason: sum(report.dropped.get(reason, 0) for report in self.reports) for reason in sorted(reasons)}

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        text = []
        for corpus, report, count, share in zip(self.corpora, self.reports, self.counts, self._shares(), strict=True):
            rate = f"each {count / report.pairs:.3g} times" if report.pairs else ""
            drawn = f"{count:,} pairs an epoch, {rate}: {share[0]:.1%} of all pairs, {share[1]:.1%} of the pieces"
            text.append(f"{corpus.label}, {corpus.src} to {corpus.tgt}: {drawn}")
            text += [f"  {line}" for line in report.lines()]
        return text

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain dicts, lists and numbers; ``digest`` identifies all texts."""
        trees = {
            corpus.label: {
                "src": corpus.src,
                "tgt": corpus.tgt,
                "pairs_an_epoch": count,
                "share_of_pairs": round(share[0], 6),
                "share_of_pieces": round(share[1], 6),
                "text": report.as_dict(),
            }
            for corpus, report, count, share in zip(
                self.corpora, self.reports, self.counts, self._shares(), strict=True
            )
        }
        whole = {"read": sum(report.read for report in self.reports), "pairs": self.pairs, "dropped": self.dropped}
        return {**whole, "corpora": trees, "digest": "+".join(report.digest for report in self.reports)}

    def _shares(self) -> list[tuple[float, float]]:
        pairs, pieces = sum(self.counts), sum(self.pieces)
        return [(count / pairs, size / pieces) for count, size in zip(self.counts, self.pieces, strict=True)]


EncodedPairs = PairStore | JoinedPairs
"""Encoded pairs, of one corpus or of several."""
