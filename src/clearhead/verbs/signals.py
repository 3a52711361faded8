"""Signals that ask a training run to stop: Ctrl-C, SIGTERM, a terminal that was closed."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SENT_TWICE_SECONDS = 0.2
"""Signals of one kind that arrive within this time are one request: ``timeout`` sends each twice, as does a process
that passes on what its whole process group got."""


@contextmanager
def stop_on_signals() -> Iterator[list[int]]:
    """Collects the first signal of each kind in ``STOPPING``; a second SIGINT or SIGTERM acts as before the block.

    A second SIGHUP is ignored, since the shell and the kernel both send one when a terminal is closed; and the first
    one too if SIGHUP was ignored before the block, as ``nohup`` makes it. In a thread other than the main one Python
    allows no signal handlers, and nothing is collected.

    Yields:
        The signals so far.
    """
    caught: list[int] = []
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    if handlers[signal.SIGHUP] is signal.SIG_IGN:
        del handlers[signal.SIGHUP]

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, signal.SIG_IGN)
        if number != signal.SIGHUP:
            time.sleep(SENT_TWICE_SECONDS)
            signal.signal(number, handlers[signal.Signals(number)])

    replaced: list[signal.Signals] = []
    try:
        for number, handler in handlers.items():
            if handler is not None:  # None: a handler that was not set from Python, which could not be set again
                signal.signal(number, note)
                replaced.append(number)
    except ValueError:
        pass  # not the main thread
    try:
        yield caught
    finally:
        for number in replaced:
            signal.signal(number, handlers[number])
