"""The engine takes as many threads as the environment or the process may have."""

import os

import pytest

from clearhead.engine.threads import threads


def test_threads_are_those_asked_for_else_the_cores_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("3", 3), (" 2,1", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads() == expected
    for value in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads() == len(os.sched_getaffinity(0))
