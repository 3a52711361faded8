"""Requests that went wrong: each is told so, none gets a 500, none hangs, and the server is well afterwards."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.limits import HANGS
from tests.reliability.asking import all_at_once, answer_to, request_bytes, status_of
from tests.reliability.mutations import GOOD, mutated
from tests.serving import resident, serving


@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.long)])
def test_no_mutated_request_breaks_the_server(
    count: int, toy_run: Path, toy_lm_run: Path, toy_masked_run: Path
) -> None:
    runs = [f"mt={toy_run}", f"lm={toy_lm_run}", f"bert={toy_masked_run}"]
    options = ["--receive-deadline", "0.5", "--max-pieces", "300", "--timeout", str(HANGS), "--files"]
    with serving(*runs, options=options) as server:

        async def ask(request: bytes) -> tuple[int, bytes]:
            return status_of(await answer_to(server.port, request)), request

        good = all_at_once([request_bytes(*each) for each in GOOD], ask, 8)
        assert [status for status, _ in good] == [200] * 19 + [201, 404, 404]
        before, started = resident(server.process.pid), time.monotonic()
        found = all_at_once(mutated(count, seed=count), ask, 48)
        assert [request for status, request in found if status >= 500] == []
        statuses = Counter(status for status, _ in found)
        assert statuses[200] > count / 20, "most of them are near to what is right"
        assert statuses[400] > count / 10
        assert {404, 405, 408, 415, 421} <= set(statuses), statuses
        assert statuses[0] < count / 50, "few are cut off without a word"
        assert time.monotonic() - started < HANGS * max(1, count / 10_000)
        again = all_at_once([request_bytes(*each) for each in GOOD], ask, 8)
        assert [status for status, _ in again] == [status for status, _ in good]
        assert server.metrics()["clearhead_running_rows"] == 0
        assert resident(server.process.pid) - before < 64 << 20
        assert server.said == ""
