"""Searches that sources join and leave at any step, each with its own settings: what a server's batch is; no torch."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearhead.engine.library import check, library
from clearhead.engine.loops.search import (
    UNREAD,
    NativeHypothesis,
    NativeSearch,
    ReadAs,
    Results,
    Shortlists,
    ToldSearch,
    asked_of,
)
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError
from clearhead.text.phrase_book import Demand

Outcome = list[NativeHypothesis] | Exception
"""The hypotheses of a source, best first; or why there are none: ModelError, or what its ``text_of`` raised."""


@dataclass(frozen=True)
class _Running:
    """What a ticket stands for, and what the library reads of it."""

    search: ToldSearch
    limit: int
    arrays: Sequence[Any]


class Searches:
    """Sources that are being translated together; or prompts of a decoder-only model that are being continued.

    The hypotheses of a source are those that ``translate`` finds for it alone, whatever joins and leaves meanwhile. A
    source that fails, for its logits are NaN, fails alone. For one thread at a time; while it computes, others run.

    Args:
        model: what computes.
        threads: sources are spread over so many; a single one has all of them for its products, where that pays.
    """

    def __init__(self, model: NativeModel, threads: int = 1) -> None:
        self.model, self.threads = model, threads
        self._library, self._running = library(), dict[int, _Running]()
        address = self._library.ch_searches_new(model.image.model, model.kernels.encode(), threads)
        check(address)
        self._address = address
        self._free = weakref.finalize(self, self._library.ch_searches_free, address)

    def __len__(self) -> int:
        """Returns how many rows there are: the beams of all sources that are not over."""
        return int(self._library.ch_searches_rows(self._address))

    @property
    def tickets(self) -> list[int]:
        """Of all sources that are not over, in the order in which they joined."""
        return list(self._running)

    def join(
        self,
        sources: Sequence[Sequence[int]],
        searches: Sequence[NativeSearch],
        *,
        limits: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
        shortlists: Shortlists = (),
        demands: Sequence[Demand] = (),
        text_of: ReadAs | None = None,
    ) -> list[int]:
        """Takes sources in, from the next step on; returns a ticket for each. Where one cannot be, none is taken in.

        Args:
            sources: one piece or more each.
            searches: how each is searched for.
            limits: most pieces of each, end mark included.
            prefixes: what each translation begins with; empty: none does.
            shortlists: see ``translate``; empty: no source has one.
            demands: see ``translate``.
            text_of: see ``translate``; called within ``step``, by any thread.

        Raises:
            ModelError: see ``translate``.
        """
        told = {id(search): ToldSearch(search, self.model.vocab, text_of) for search in searches}
        own = [told[id(search)] for search in searches]
        asked, arrays = asked_of(sources, own, limits, prefixes, shortlists, demands)
        tickets = np.zeros(len(sources), dtype=np.int64)
        check(self._library.ch_searches_join(self._address, asked.ctypes.data, len(sources), tickets.ctypes.data))
        for ticket, search, limit in zip(tickets.tolist(), own, limits, strict=True):
            self._running[ticket] = _Running(search, limit, arrays)
        return tickets.tolist()

    def step(self, steps: int = 1, *, threads: int = 0) -> list[tuple[int, Outcome]]:
        """Makes up to ``steps`` steps, each a piece for every row; returns the sources that are over, by ticket.

        Args:
            steps: after which it returns.
            threads: that products have where a single thread has sources; 0: as many as sources are spread over.
        """
        over = np.zeros(max(len(self._running), 1), dtype=np.int64)
        count = self._library.ch_searches_step(
            self._address, steps, threads or self.threads, over.ctypes.data, len(over)
        )
        check(count)
        return [(ticket, self._taken(ticket)) for ticket in over[:count].tolist()]

    def leave(self, *tickets: int) -> None:
        """Gives sources up, at any time: their rows go before the next step. One that is over is no error."""
        for ticket in tickets:
            if self._running.pop(ticket, None) is not None:
                check(self._library.ch_searches_leave(self._address, ticket))

    def settled(self, ticket: int) -> list[int]:
        """Returns the pieces that all its hypotheses will begin with, of a source that is not over.

        Of a greedy search these are all that it has; of a wider one those that its hypotheses share, finished ones and
        live ones that may still be among the best.
        """
        ids = np.zeros(self._running[ticket].limit, dtype=np.int32)
        count = self._library.ch_searches_settled(self._address, ticket, ids.ctypes.data)
        check(count)
        return ids[:count].tolist()

    def _taken(self, ticket: int) -> Outcome:
        running = self._running.pop(ticket)
        found = Results(1, running.search.search.n_best, running.limit)
        try:
            check(self._library.ch_searches_take(self._address, ticket, found.told))
        except ModelError as error:
            raised = running.search.error
            if str(error) == UNREAD and isinstance(raised, Exception):
                return raised
            if str(error) == UNREAD and raised is not None:
                raise raised from None  # an interruption is for the caller
            return error
        return found.hypotheses()[0]
