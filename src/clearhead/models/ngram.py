"""N-gram language models from smoothed counts, without torch: the baseline that a neural model has to beat."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from clearhead.errors import DataError, ModelError
from clearhead.files import make_new
from clearhead.ranges import Order

Tokens = NDArray[np.integer[Any]]
Ids = NDArray[np.int64]
Reals = NDArray[np.float64]
Smoothing = Literal["kneser_ney", "witten_bell"]

_FORMAT = 1
_UNSEEN = -1  # in place of the id of an n-gram that has no count


@dataclass(frozen=True)
class NgramConfig:
    """Length and smoothing of an n-gram model."""

    order: Order = 5
    """Length of the longest n-gram: a token is predicted from the order - 1 tokens before it."""
    smoothing: Smoothing = "kneser_ney"
    """How unseen tokens get probability: kneser_ney (modified) discounts the counts, witten_bell adds to their sum."""


class Ngram:
    """An interpolated model: P(token | context) = direct + backoff * P(token | context without its first token).

    The recursion ends at 1 / vocab_size, so that no token is impossible; every distribution sums to 1. In all methods
    ``tokens`` [n] holds all documents, one after another, and ``starts`` the places where they begin (None: there is
    one document); no n-gram crosses a boundary. A token outside the vocabulary or a start outside the tokens is a
    ValueError.

    Args:
        config: length and smoothing.
        vocab_size: token ids are below it.
        counts: keys and counts of the n-grams of every length from 1, as ``train`` counts them.
    """

    def __init__(self, config: NgramConfig, vocab_size: int, counts: Sequence[tuple[Ids, Ids]]) -> None:
        self.config, self.vocab_size = config, vocab_size
        self._levels: list[_Level] = []
        n_contexts = 1
        for keys, occurrences in counts:
            level = _Level(keys, occurrences, vocab_size, n_contexts=n_contexts, smoothing=config.smoothing)
            self._levels.append(level)
            n_contexts = len(keys)

    @classmethod
    def train(cls, tokens: Tokens, config: NgramConfig, *, vocab_size: int, starts: Tokens | None = None) -> "Ngram":
        """Counts the n-grams of ``tokens`` up to ``config.order``; raises DataError if there are no tokens."""
        if not len(tokens):
            raise DataError("n-gram model: there are no tokens to count")
        ids, begins = _checked(tokens, starts, vocab_size)
        return cls(config, vocab_size, _count(ids, begins, config=config, vocab_size=vocab_size))

    @property
    def size(self) -> int:
        """Number of n-grams stored, the parameters of the model."""
        return sum(len(level.keys) for level in self._levels)

    def log_probs(self, tokens: Tokens, starts: Tokens | None = None) -> Reals:
        """Returns the log probability of every token given the earlier ones of its document, [n] in nats."""
        ids, begins = _checked(tokens, starts, self.vocab_size)
        probs, contexts = np.full(len(ids), 1 / self.vocab_size), np.zeros_like(ids)
        for level in self._levels:
            ngrams = level.find(contexts, ids)
            probs = level.direct[ngrams] + level.backoff[contexts] * probs
            contexts = _before(ngrams, begins)
        return np.log(probs)

    def next_probs(self, context: Sequence[int]) -> Reals:
        """Returns the probability of every token to come next after ``context``, [vocab_size]."""
        ids, begins = _checked(np.array(context[-self.config.order :], np.int64), None, self.vocab_size)
        probs, contexts, last = np.full(self.vocab_size, 1 / self.vocab_size), np.zeros_like(ids), 0
        for level in self._levels:
            first, end = np.searchsorted(level.keys, np.array([last, last + 1]) * self.vocab_size)
            probs *= level.backoff[last]
            probs[level.keys[first:end] - last * self.vocab_size] += level.direct[first:end]
            ngrams = level.find(contexts, ids)
            contexts, last = _before(ngrams, begins), int(ngrams[-1]) if len(ngrams) else _UNSEEN
        return probs

    def save(self, path: Path) -> None:
        """Writes an .npz file atomically; raises DataError if it cannot be written."""
        arrays: dict[str, Any] = {"format": _FORMAT, "levels": len(self._levels), "vocab_size": self.vocab_size}
        arrays |= asdict(self.config)
        for length, level in enumerate(self._levels, 1):
            arrays |= {f"keys.{length}": level.keys, f"counts.{length}": level.counts}
        temporary = path.with_name(path.name + ".tmp")
        try:
            make_new(temporary)
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"n-gram model {str(path)!r} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> "Ngram":
        """Reads a file that ``save`` wrote; raises ModelError if it is missing, damaged or of an unknown format."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if int(file["format"]) != _FORMAT:
                    raise ModelError(f"n-gram model {str(path)!r} has a format this version does not know")
                config = NgramConfig(int(file["order"]), cast(Smoothing, str(file["smoothing"])))
                lengths = range(1, int(file["levels"]) + 1)
                counts = [(file[f"keys.{length}"], file[f"counts.{length}"]) for length in lengths]
                return cls(config, int(file["vocab_size"]), counts)
        except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise ModelError(f"n-gram model {str(path)!r} is missing or damaged: {error}") from error


class _Level:
    """The n-grams of one length, sorted by key = (id of its context, all but the last token) * vocab_size + last token.

    An n-gram's id is its index in this order, so that the continuations of a context are adjacent. The weights have one
    more entry at the end, which the index _UNSEEN = -1 selects: it leaves all probability to the shorter context.
    """

    def __init__(self, keys: Ids, counts: Ids, vocab_size: int, *, n_contexts: int, smoothing: Smoothing) -> None:
        self.keys, self.counts, self._vocab_size = keys, counts, vocab_size
        contexts = keys // vocab_size
        match smoothing:
            case "kneser_ney":
                to_unseen = _discounts(counts)[np.minimum(counts, 3)]
                to_seen = counts - to_unseen
            case "witten_bell":  # method C of Witten and Bell 1991: each distinct token counts once for unseen ones
                to_unseen, to_seen = np.ones(len(keys)), counts.astype(np.float64)
        to_shorter = np.bincount(contexts, to_unseen, minlength=n_contexts)
        total = np.bincount(contexts, to_seen, minlength=n_contexts) + to_shorter
        self.direct: Reals = np.append(to_seen / total[contexts], 0)
        self.backoff: Reals = np.ones(n_contexts + 1)
        np.divide(to_shorter, total, out=self.backoff[:-1], where=total > 0)  # nothing follows the end of a document

    def find(self, contexts: Ids, tokens: Ids) -> Ids:
        """Returns the ids of the n-grams ``contexts`` + ``tokens``, _UNSEEN for those without a count."""
        keys = contexts * self._vocab_size + tokens  # negative after an unseen context, so that it is not found either
        places = np.searchsorted(self.keys, keys)
        return np.where(self.keys.take(places, mode="clip") == keys, places, _UNSEEN)


def _checked(tokens: Tokens, starts: Tokens | None, vocab_size: int) -> tuple[Ids, Ids]:
    begins = np.zeros(0, np.int64) if starts is None else starts.astype(np.int64)
    for name, values, limit in (("tokens", tokens, vocab_size), ("starts", begins, len(tokens))):
        if len(values) and not 0 <= values.min() <= values.max() < limit:
            raise ValueError(f"{name} = {values.min()} to {values.max()}: must be at least 0 and below {limit}")
    return tokens.astype(np.int64), begins


def _before(ids: Ids, begins: Ids) -> Ids:
    """Returns for every position the n-gram that ends just before it, _UNSEEN at the beginning of a document."""
    moved = np.full_like(ids, _UNSEEN)
    moved[1:] = ids[:-1]
    moved[begins] = _UNSEEN
    return moved


def _count(tokens: Ids, begins: Ids, *, config: NgramConfig, vocab_size: int) -> list[tuple[Ids, Ids]]:
    """Returns keys and counts of the n-grams of every length that occurs in the documents.

    For Kneser-Ney, the count of an n-gram shorter than the longest is the number of distinct tokens before it; the
    beginning of a document counts as one of them.
    """
    counted: list[tuple[Ids, Ids]] = []
    contexts, shorter = np.zeros_like(tokens), tokens
    while len(counted) < config.order and len(inside := np.flatnonzero(contexts != _UNSEEN)):
        keys, first, ids, counts = np.unique(
            contexts[inside] * vocab_size + tokens[inside], return_index=True, return_inverse=True, return_counts=True
        )
        if counted and config.smoothing == "kneser_ney":
            preceding = np.bincount(shorter[inside[first]], minlength=len(counted[-1][0]))
            preceding[np.unique(shorter[(contexts == _UNSEEN) & (shorter != _UNSEEN)])] += 1
            counted[-1] = counted[-1][0], preceding
        counted.append((keys, counts))
        shorter = np.full_like(tokens, _UNSEEN)
        shorter[inside] = ids
        contexts = _before(shorter, begins)
    return counted


def _discounts(counts: Ids) -> Reals:
    """Returns what modified Kneser-Ney subtracts from a count of 0, 1, 2 and more (Chen and Goodman 1999)."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    count = np.arange(1, 4)
    if n[1:5].all():
        estimated = count - (count + 1) * n[1] / (n[1] + 2 * n[2]) * n[2:5] / n[1:4]
        if (estimated > 0).all():
            return np.append(0, estimated)
    return np.append(0, count / 2)  # too little text for an estimate: KenLM's fallback
