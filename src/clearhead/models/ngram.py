"""N-gram language models: counts, smoothed, without torch; what a neural model has to beat."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from clearhead.errors import DataError, ModelError

Tokens = NDArray[np.integer[Any]]
Ids = NDArray[np.int64]
Reals = NDArray[np.float64]
Smoothing = Literal["kneser_ney", "witten_bell"]

FORMAT = 1
ABSENT = -1


@dataclass(frozen=True)
class NgramConfig:
    """Length and smoothing of an n-gram model."""

    order: Annotated[int, Ge(1)] = 5
    """Longest n-gram: a token is predicted from the order - 1 before it."""
    smoothing: Smoothing = "kneser_ney"
    """What is kept for unseen tokens: modified Kneser-Ney discounts the counts, Witten-Bell adds to their sum."""


class Ngram:
    """An interpolated model: P(token | context) = direct + backoff * P(token | context without its first token).

    Without context it goes on to 1 / vocab_size, so that no token is impossible; every distribution sums to 1.
    ``tokens`` [n] are all documents, one after another; ``starts`` say where they begin (None: one document), and
    nothing reaches across. A token outside the vocabulary or a start outside the tokens is a ValueError.

    Args:
        config: length and smoothing.
        vocab_size: token ids are below it.
        counts: keys and counts of the n-grams of every length from 1, as ``train`` finds them.
    """

    def __init__(self, config: NgramConfig, vocab_size: int, counts: Sequence[tuple[Ids, Ids]]) -> None:
        self.config, self.vocab_size = config, vocab_size
        self._levels: list[_Level] = []
        n_contexts = 1
        for keys, found in counts:
            self._levels.append(_Level(keys, found, vocab_size, n_contexts=n_contexts, smoothing=config.smoothing))
            n_contexts = len(keys)

    @classmethod
    def train(cls, tokens: Tokens, config: NgramConfig, *, vocab_size: int, starts: Tokens | None = None) -> "Ngram":
        """Counts the n-grams of ``tokens`` up to ``config.order``; DataError when there is no token."""
        if not len(tokens):
            raise DataError("n-gram model: there are no tokens to count")
        ids, begins = _checked(tokens, starts, vocab_size)
        return cls(config, vocab_size, _count(ids, begins, config=config, vocab_size=vocab_size))

    @property
    def size(self) -> int:
        """N-grams stored: the parameters of the model."""
        return sum(len(level.keys) for level in self._levels)

    def log_probs(self, tokens: Tokens, starts: Tokens | None = None) -> Reals:
        """Returns the log probability of every token given those before it in its document, [n] in nats."""
        ids, begins = _checked(tokens, starts, self.vocab_size)
        probs, contexts = np.full(len(ids), 1 / self.vocab_size), np.zeros_like(ids)
        for level in self._levels:
            found = level.find(contexts, ids)
            probs = level.direct[found] + level.backoff[contexts] * probs
            contexts = _before(found, begins)
        return np.log(probs)

    def next_probs(self, context: Sequence[int]) -> Reals:
        """Returns the probability of every token after the end of ``context``, [vocab_size]."""
        ids, begins = _checked(np.array(context[-self.config.order :], np.int64), None, self.vocab_size)
        probs, contexts, last = np.full(self.vocab_size, 1 / self.vocab_size), np.zeros_like(ids), 0
        for level in self._levels:
            first, end = np.searchsorted(level.keys, np.array([last, last + 1]) * self.vocab_size)
            probs *= level.backoff[last]
            probs[level.keys[first:end] - last * self.vocab_size] += level.direct[first:end]
            found = level.find(contexts, ids)
            contexts, last = _before(found, begins), int(found[-1]) if len(found) else ABSENT
        return probs

    def save(self, path: Path) -> None:
        """Writes an .npz, which is there whole or not at all; DataError where that cannot be."""
        arrays: dict[str, Any] = {"format": FORMAT, "levels": len(self._levels), "vocab_size": self.vocab_size}
        arrays |= asdict(self.config)
        for length, level in enumerate(self._levels, 1):
            arrays |= {f"keys.{length}": level.keys, f"counts.{length}": level.counts}
        beside = path.with_name(path.name + ".tmp")
        try:
            with beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise DataError(f"n-gram model {str(path)!r} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> "Ngram":
        """Reads what ``save`` wrote; ModelError where that is missing, damaged (it has checksums) or not known."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT:
                    raise ModelError(f"n-gram model {str(path)!r} has a format this version does not know")
                config = NgramConfig(int(file["order"]), cast(Smoothing, str(file["smoothing"])))
                lengths = range(1, int(file["levels"]) + 1)
                counts = [(file[f"keys.{length}"], file[f"counts.{length}"]) for length in lengths]
                return cls(config, int(file["vocab_size"]), counts)
        except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise ModelError(f"n-gram model {str(path)!r} is missing or damaged: {error}") from error


class _Level:
    """The n-grams of one length, sorted by key = (id of all but the last token) * vocab_size + last token.

    An n-gram's id is its place in this order, so that what follows a context lies side by side. ABSENT, which is -1,
    finds the last weight: nothing direct, everything from the shorter context.
    """

    def __init__(self, keys: Ids, counts: Ids, vocab_size: int, *, n_contexts: int, smoothing: Smoothing) -> None:
        self.keys, self.counts, self._vocab_size = keys, counts, vocab_size
        contexts = keys // vocab_size
        match smoothing:
            case "kneser_ney":
                taken = _discounts(counts)[np.minimum(counts, 3)]
                kept = counts - taken
            case "witten_bell":  # method C of Witten and Bell 1991: each distinct token stands for an unseen one
                taken, kept = np.ones(len(keys)), counts.astype(np.float64)
        to_shorter = np.bincount(contexts, taken, minlength=n_contexts)
        total = np.bincount(contexts, kept, minlength=n_contexts) + to_shorter
        self.direct: Reals = np.append(kept / total[contexts], 0)
        self.backoff: Reals = np.ones(n_contexts + 1)
        np.divide(to_shorter, total, out=self.backoff[:-1], where=total > 0)  # nothing follows the end of a document

    def find(self, contexts: Ids, tokens: Ids) -> Ids:
        """Returns the ids of ``contexts`` + ``tokens``, ABSENT where they were not seen."""
        keys = contexts * self._vocab_size + tokens  # below 0 where the context is absent: not found either
        places = np.searchsorted(self.keys, keys)
        return np.where(self.keys.take(places, mode="clip") == keys, places, ABSENT)


def _checked(tokens: Tokens, starts: Tokens | None, vocab_size: int) -> tuple[Ids, Ids]:
    begins = np.zeros(0, np.int64) if starts is None else starts.astype(np.int64)
    for name, given, limit in (("tokens", tokens, vocab_size), ("starts", begins, len(tokens))):
        if len(given) and not 0 <= given.min() <= given.max() < limit:
            raise ValueError(f"{name} = {given.min()} to {given.max()}: must be at least 0 and below {limit}")
    return tokens.astype(np.int64), begins


def _before(ids: Ids, begins: Ids) -> Ids:
    """Returns for every position the n-gram that ends just before it, ABSENT where a document begins."""
    moved = np.full_like(ids, ABSENT)
    moved[1:] = ids[:-1]
    moved[begins] = ABSENT
    return moved


def _count(tokens: Ids, begins: Ids, *, config: NgramConfig, vocab_size: int) -> list[tuple[Ids, Ids]]:
    """Returns keys and counts of every length that the documents have.

    In Kneser-Ney the count of all but the longest is how many different tokens precede; a document's begin is one more.
    """
    counted: list[tuple[Ids, Ids]] = []
    contexts, shorter = np.zeros_like(tokens), tokens
    while len(counted) < config.order and len(inside := np.flatnonzero(contexts != ABSENT)):
        keys, first, ids, counts = np.unique(
            contexts[inside] * vocab_size + tokens[inside], return_index=True, return_inverse=True, return_counts=True
        )
        if counted and config.smoothing == "kneser_ney":
            preceding = np.bincount(shorter[inside[first]], minlength=len(counted[-1][0]))
            preceding[np.unique(shorter[(contexts == ABSENT) & (shorter != ABSENT)])] += 1
            counted[-1] = counted[-1][0], preceding
        counted.append((keys, counts))
        shorter = np.full_like(tokens, ABSENT)
        shorter[inside] = ids
        contexts = _before(shorter, begins)
    return counted


def _discounts(counts: Ids) -> Reals:
    """Returns what modified Kneser-Ney takes off a count of 0, 1, 2 and more (Chen and Goodman 1999)."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    count = np.arange(1, 4)
    if n[1:5].all():
        estimated = count - (count + 1) * n[1] / (n[1] + 2 * n[2]) * n[2:5] / n[1:4]
        if (estimated > 0).all():
            return np.append(0, estimated)
    return np.append(0, count / 2)  # too little text to tell: KenLM's fallback
