"""Notices a run whose loss goes up and stays up: a learning rate that is too high."""

from collections import deque
from collections.abc import Iterator

from clearhead.train.events import Diverging, Skipped, Stepped

WINDOW = 20  # steps whose mean is looked at: single steps are noise


class Divergence:
    """Watches the losses of a run and speaks once.

    The mean of the last ``WINDOW`` steps counts as diverging where it is above that of the first ``WINDOW``, and above
    the lowest such mean by half of it and by 1 at least. It looks at what was trained since the start of the process
    and changes nothing, so that a resumed run is the uninterrupted one.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self._lowest, self._lowest_step, self._said = float("inf"), 0, False

    def see(self, event: Stepped | Skipped) -> Iterator[Diverging]:
        """Takes a step; yields what there is to say of it, which is mostly nothing."""
        if isinstance(event, Skipped):
            return
        self._last.append(event.loss)
        if self._said or len(self._last) < WINDOW:
            return
        mean = sum(self._last) / WINDOW
        self._first = mean if self._first is None else self._first
        if mean < self._lowest:
            self._lowest, self._lowest_step = mean, event.step
        if mean > max(self._first, self._lowest + max(1.0, self._lowest / 2)):
            self._said = True
            yield Diverging(event.step, mean, self._lowest, self._lowest_step, event.lr)
