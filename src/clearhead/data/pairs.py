"""Next-sentence pairs: a segment A and a segment B, which follows A or is drawn from another document."""

import random
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from clearhead.data.segments import marks
from clearhead.data.sentences import SentenceStore, Units, fit_sentences
from clearhead.errors import DataError, UsageError
from clearhead.ranges import Share, ShareWithin
from clearhead.text.overlong import OverlongSentence

TRIES = 8  # attempts to draw a random B that fits beside A, before A is cut to one sentence


@dataclass(frozen=True)
class MaskedConfig:
    """What a masked language model is trained on."""

    next_sentence: bool = True
    """Rows have two segments, and the model predicts whether B follows A; false: one segment, masked pieces only."""
    short_fraction: Share = 0.1
    """Share of the rows that are filled to a random length only."""
    overlong: OverlongSentence = "split"
    """Policy for sentences that fill more than half a row (without ``next_sentence``, more than a row)."""
    mask_fraction: ShareWithin = 0.15
    """Share of the pieces that are to be predicted; never an unknown piece, a mark or padding."""
    mask_share: Share = 0.8
    """Share of these that is replaced by [MASK]."""
    random_share: Share = 0.1
    """Share of these that is replaced by a random piece; the rest stays."""
    whole_word: bool = False
    """Hides all pieces of a word, or none."""

    def __post_init__(self) -> None:
        if self.mask_share + self.random_share > 1:
            raise ValueError(f"mask_share + random_share = {self.mask_share + self.random_share:g}: must be at most 1")


@dataclass(frozen=True)
class Pairs:
    """The rows of one epoch. Every unit is exactly once in an A or a B that follows one; a random B is an extra use."""

    spans: Int[ndarray, "rows 4"]
    """Begin and end of A in the store's ``ids``, then of B; with one segment B is empty."""
    is_next: Bool[ndarray, " rows"]
    """Whether B follows A in its document."""
    pair: bool
    """Whether rows have a segment B."""

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def lengths(self) -> Int[ndarray, " rows"]:
        """Number of ids in each row, marks included."""
        return self.spans[:, 1] - self.spans[:, 0] + self.spans[:, 3] - self.spans[:, 2] + marks(pair=self.pair)


def fit_rows(store: SentenceStore, *, config: MaskedConfig, max_seq_len: int) -> Units:
    """Returns the sentences of ``store``, or parts of them, that fill rows of ``max_seq_len``; see ``fit_sentences``.

    With two segments each takes at most half a row, so that any two fit together.

    Raises:
        UsageError: rows are too short.
        DataError: nothing is left; or, for pairs, there is only one document, or none has two sentences.
    """
    room = max_seq_len - marks(pair=config.next_sentence)
    if room < 2:
        raise UsageError(
            f"max_seq_len = {max_seq_len}: must be at least {max_seq_len - room + 2}, two pieces and marks"
        )
    limit = room // 2 if config.next_sentence else room
    units = fit_sentences(store, limit=limit, overlong=config.overlong)
    files = ", ".join(store.report.files)
    fix = "set next_sentence = false, or data.separator to what divides documents"
    if config.next_sentence and units.documents[0] == units.documents[-1]:
        raise DataError(f"{files}: one document, but a random next sentence comes from another; {fix}")
    if config.next_sentence and np.diff(units.runs).max() < 2:
        raise DataError(f"{files}: no document has two sentences, so that none follows another; {fix}")
    return units


def plan_pairs(units: Units, *, config: MaskedConfig, max_seq_len: int, seed: int, epoch: int) -> Pairs:
    """Fills the rows of one epoch with whole sentences, as the reference data of BERT does (arXiv:1810.04805, A.2).

    A row takes the next sentences of a document as long as they fit. For half of the rows, they are divided at random
    into A and a B that follows it. For the others, B is drawn from another document, and the next row begins after A.
    If only the last sentence of a document is left, it gets a random B; to make up for it, a later row that would have
    had a random B gets one that follows, so that both kinds are equally frequent if the documents allow it. Everything
    is drawn from (seed, epoch).
    """
    rng = np.random.SeedSequence([seed, epoch], spawn_key=(0,)).generate_state(4)
    planner = _Planner(units, config, max_seq_len, random.Random(rng.tobytes()))
    rows = np.array(list(planner.rows()), np.int64).reshape(-1, 5)
    a, a_end, b, b_end, target = rows.T
    drawn = b_end < 0  # B is random, and its end is still to be chosen
    run_end = units.runs[np.searchsorted(units.runs, b, side="right").clip(max=len(units.runs) - 1)]
    reach = units.starts[b.clip(max=len(units.starts) - 1)] + target - (units.ends[a_end - 1] - units.starts[a])
    open_end = np.searchsorted(units.ends, reach, side="right").clip(b + 1, np.maximum(run_end, b + 1))
    b_end = np.where(drawn, open_end, b_end)
    spans = np.stack([units.starts[a], units.ends[a_end - 1], units.starts[b], units.ends[b_end - 1]], axis=1)
    if not config.next_sentence:
        spans[:, 2:] = spans[:, 1:2]
    return Pairs(spans, ~drawn & config.next_sentence, config.next_sentence)


class _Planner:
    """Draws rows as numbers of units: begin and end of A, begin and end of B (-1: open), and the pieces to aim for."""

    def __init__(self, units: Units, config: MaskedConfig, max_seq_len: int, draw: random.Random) -> None:
        self._units, self._config, self._draw = units, config, draw
        self._room = max_seq_len - marks(pair=config.next_sentence)
        self._lengths = (units.ends - units.starts).tolist()
        self._first = np.searchsorted(units.documents, units.documents, side="left").tolist()
        self._behind = np.searchsorted(units.documents, units.documents, side="right").tolist()
        self._owed = 0  # rows that got a random B because A was the last sentence, though a following B was drawn

    def rows(self) -> list[tuple[int, int, int, int, int]]:
        """Returns the rows of one epoch, in the order of the documents."""
        rows = []
        runs = self._units.runs.tolist()
        for first, last in pairwise(runs):
            at = first
            while at < last:
                row = self._row(at, last)
                rows.append(row)
                at = row[3] if row[3] > 0 else row[1]
        return rows

    def _row(self, at: int, last: int) -> tuple[int, int, int, int, int]:
        """Fills a row from unit ``at`` on; ``last`` is the end of the run."""
        target = self._room
        if self._draw.random() < self._config.short_fraction:
            target = self._draw.randint(2, self._room)
        end, size = at + 1, self._lengths[at]
        # two units always fit the row, so both segments get one even if the target is shorter
        while end < last and (size + self._lengths[end] <= target or (self._config.next_sentence and end == at + 1)):
            size += self._lengths[end]
            end += 1
        if not self._config.next_sentence:
            return at, end, at, end, target
        if self._follows(end - at):
            middle = self._draw.randint(at + 1, end - 1)
            return at, middle, middle, end, target
        middle = self._draw.randint(at + 1, max(at + 1, end - 1))
        for _ in range(TRIES):
            other = self._other(at)
            if sum(self._lengths[at:middle]) + self._lengths[other] <= self._room:
                return at, middle, other, -1, target
        return at, at + 1, self._other(at), -1, target

    def _follows(self, count: int) -> bool:
        """Draws whether B follows A, which needs a ``count`` of at least two units."""
        follows = self._draw.random() < 0.5
        if count == 1:
            self._owed += follows
            return False
        if not follows and self._owed:
            self._owed -= 1
            return True
        return follows

    def _other(self, at: int) -> int:
        """Draws a unit of another document."""
        first, behind = self._first[at], self._behind[at]
        drawn = self._draw.randrange(len(self._lengths) - (behind - first))
        return drawn if drawn < first else drawn + behind - first
