"""Two models on the same lines: scores made of what each line counts for, and an interval of their difference."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from clearhead.text.language import BleuTokenize

SAMPLES = 1000
SEED = 12345  # sacreBLEU's
CHRF_ORDERS, BETA = range(1, 7), 2
Counts = Float[ndarray, "lines counts"]


class Metric(ABC):
    """A score of a model on many lines that follows from what each line counts for."""

    name: str
    unit: str
    """What a loss of quality is measured in."""
    most_loss: float
    """The loss that a smaller artefact may have where nobody says."""

    @property
    def signature(self) -> str | None:
        """The settings of the metric in its library's words; None where there are none."""
        return None

    @abstractmethod
    def score(self, counts: Counts) -> float:
        """Returns the score of lines with these counts."""

    def loss(self, before: float, after: float) -> float:
        """Returns by how much ``after`` is worse, in ``unit``; below 0 where it is better."""
        return before - after

    def is_like(self, other: "Metric") -> bool:
        """Says whether a line's counts mean the same in both, as those of other references or classes do not."""
        return self.name == other.name


class Bleu(Metric):
    """BLEU of translations (Papineni et al. 2002), by sacreBLEU; a line counts its matched and all n-grams."""

    name, unit, most_loss = "BLEU", "points", 0.5

    def __init__(self, references: Sequence[str], tokenize: BleuTokenize) -> None:
        from sacrebleu.metrics.bleu import BLEU

        self.references = list(references)
        # of single lines only the counts are used; effective_order keeps the library from warning of their scores
        self._bleu: Any = BLEU(tokenize=tokenize, force=tokenize == "none", effective_order=True)
        self._signed: Any = BLEU(tokenize=tokenize, force=tokenize == "none")

    @property
    def signature(self) -> str | None:
        """See ``Metric``."""
        self._signed.corpus_score([""], [[""]])
        return str(self._signed.get_signature())

    def counts(self, translations: Sequence[str]) -> Counts:
        """Returns what each line counts for: n-grams matched and in all, length of the line and of its reference."""
        scored = [
            self._bleu.sentence_score(text, [reference])
            for text, reference in zip(translations, self.references, strict=True)
        ]
        return np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in scored], np.float64)

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        totals = [int(value) for value in counts.sum(axis=0)]
        order = (len(totals) - 2) // 2
        right, every, (length, reference) = totals[:order], totals[order:-2], totals[-2:]
        return float(self._bleu.compute_bleu(right, every, length, reference, smooth_method="exp").score)


class Chrf(Metric):
    """chrF2 of translations (Popovic 2015), as sacreBLEU has it; a line counts its character n-grams of each order."""

    name, unit, most_loss = "chrF2", "points", 0.5

    def __init__(self, references: Sequence[str]) -> None:
        self._references = [_character_ngrams(reference) for reference in references]

    @property
    def signature(self) -> str | None:
        """See ``Metric``."""
        from sacrebleu.metrics.chrf import CHRF

        chrf: Any = CHRF()
        chrf.corpus_score([""], [[""]])
        return str(chrf.get_signature())

    def counts(self, translations: Sequence[str]) -> Counts:
        """Returns what each line counts for: for each order, its n-grams, those of its reference, and those in both.

        Where a reference is too short for an order, the n-grams of the translation count nothing.
        """
        rows = [
            [
                (found.total() if expected else 0, expected.total(), (found & expected).total())
                for found, expected in zip(_character_ngrams(text), reference, strict=True)
            ]
            for text, reference in zip(translations, self._references, strict=True)
        ]
        return np.array(rows, np.float64).reshape(len(rows), -1)

    def score(self, counts: Counts) -> float:
        """See ``Metric``: F of the mean precision and the mean recall over the orders that both sides have."""
        written, expected, right = counts.sum(axis=0).reshape(-1, 3).T
        used = (written > 0) & (expected > 0)
        if not right[used].any():
            return 0.0
        precision, recall = (right[used] / written[used]).mean(), (right[used] / expected[used]).mean()
        return float(100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall))


def _character_ngrams(text: str) -> list[Counter[str]]:
    """Returns how often each n-gram of characters occurs, for each order; spaces are left out."""
    text = "".join(text.split())
    return [Counter(text[at : at + order] for at in range(len(text) - order + 1)) for order in CHRF_ORDERS]


class Perplexity(Metric):
    """exp of the mean negative log-likelihood; a line counts its sum and the number of its pieces."""

    name, unit, most_loss = "perplexity", "%", 1.0

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        total, pieces = counts.sum(axis=0)
        return math.exp(min(total / max(pieces, 1), 700))

    def loss(self, before: float, after: float) -> float:
        """See ``Metric``: how much larger, as a share."""
        return 100 * (after / before - 1)


class Accuracy(Metric):
    """Percentage of right answers; a line counts those and all answers."""

    name, unit, most_loss = "accuracy", "points", 0.5

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        right, every = counts.sum(axis=0)
        return float(100 * right / max(every, 1))


class Pearson(Metric):
    """Correlation of numbers with those predicted, in percent; a line counts its label and its prediction."""

    name, unit, most_loss = "Pearson", "points", 0.5

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        if (counts.std(axis=0) == 0).any():
            return 0.0
        return float(100 * np.corrcoef(counts.T)[0, 1])


@dataclass(frozen=True)
class Quality:
    """A score before and after, on the same lines."""

    before: float
    after: float
    loss: float
    """See ``Metric.loss``."""
    interval: tuple[float, float]
    """95 % of the losses that samples of the lines have."""


@dataclass(frozen=True)
class Difference:
    """By how much a score is higher than another's, on the same lines."""

    difference: float
    interval: tuple[float, float]
    """95 % of the differences that samples of the lines have."""
    p: float
    """How often samples differ from their mean by more than that, as sacreBLEU's paired bootstrap counts."""


def compared(metric: Metric, first: Counts, other: Counts, *, samples: int = SAMPLES) -> Difference:
    """Returns by how much ``other`` is above ``first``, by paired bootstrap resampling (Koehn 2004).

    The samples are those of ``sacrebleu --paired-bs``, drawn from its seed. Runs whose lines all count the same have
    p = 1, where that counts 1 / (samples + 1).
    """
    if (first == other).all():
        return Difference(0.0, (0.0, 0.0), 1.0)
    difference = metric.score(other) - metric.score(first)
    resampled = _resampled(metric, first, other, samples, seed=SEED)
    differences = np.array([after - before for before, after in resampled])
    apart = np.abs(differences)
    p = float((apart - apart.mean() > abs(difference)).sum() + 1) / (samples + 1)
    low, high = np.percentile(differences, [2.5, 97.5]).tolist()
    return Difference(difference, (low, high), p)


def paired(metric: Metric, before: Counts, after: Counts, *, samples: int = SAMPLES) -> Quality:
    """Scores both, and draws lines with replacement for an interval (paired bootstrap, Koehn 2004)."""
    first, second = metric.score(before), metric.score(after)
    loss = metric.loss(first, second)
    if (before == after).all():
        return Quality(first, second, loss, (loss, loss))
    losses = [metric.loss(*scores) for scores in _resampled(metric, before, after, samples, seed=0)]
    low, high = np.percentile(losses, [2.5, 97.5]).tolist()
    return Quality(first, second, loss, (low, high))


def _resampled(
    metric: Metric, first: Counts, other: Counts, samples: int, *, seed: int
) -> Iterator[tuple[float, float]]:
    """Yields the scores of both on samples of the lines, drawn with replacement."""
    rng, lines = np.random.default_rng(seed), len(first)
    for _ in range(samples):
        drawn = rng.choice(lines, size=lines, replace=True)
        yield metric.score(first[drawn]), metric.score(other[drawn])
