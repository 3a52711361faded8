"""Signals that stop training: which are collected, which act as before, and what is left behind."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from clearhead.verbs.signals import SENT_TWICE_SECONDS, STOPPING, stop_on_signals


@pytest.fixture
def acted() -> Iterator[list[int]]:
    """Signals that got to the handlers from before the block."""
    numbers: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: numbers.append(number)) for number in STOPPING}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_of_each_is_collected_and_a_second_acts_as_before(acted: list[int]) -> None:
    handlers = [signal.getsignal(number) for number in STOPPING]
    with stop_on_signals() as caught:
        for number in [*STOPPING, *STOPPING]:
            signal.raise_signal(number)
        assert caught == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        assert acted == [signal.SIGINT, signal.SIGTERM], "a terminal that is closed sends SIGHUP more than once"
    assert [signal.getsignal(number) for number in STOPPING] == handlers


def test_a_signal_that_is_sent_twice_at_once_is_one_request(acted: list[int]) -> None:
    """As GNU ``timeout`` sends it: to its child, then to the process group."""
    again = threading.Timer(SENT_TWICE_SECONDS / 4, os.kill, (os.getpid(), signal.SIGTERM))
    with stop_on_signals() as caught:
        again.start()
        signal.raise_signal(signal.SIGTERM)
        again.join()
        assert (caught, acted) == ([signal.SIGTERM], [])


def test_what_nohup_ignores_stays_ignored(acted: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as caught:
        signal.raise_signal(signal.SIGHUP)
        assert caught == []
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_that_was_not_set_from_python_is_left_alone(
    acted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else real(number))
    with stop_on_signals() as caught:
        signal.raise_signal(signal.SIGTERM)
    assert (caught, acted) == ([], [signal.SIGTERM])


def test_another_thread_than_the_main_one_collects_nothing(acted: list[int]) -> None:
    seen: list[int | None] = []

    def run() -> None:
        with stop_on_signals() as caught:
            os.kill(os.getpid(), signal.SIGTERM)
            seen.extend([*caught, None])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (seen, acted) == ([None], [signal.SIGTERM])
