"""How long a request may wait and take, and what its client is told when that is over."""

import time

import pytest

from clearhead.serve.work.jobs import GivenUpError, Job


def test_a_job_may_wait_and_then_take_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    job = Job(timeout=5.0)
    assert job.deadline == 105.0
    now = 104.0
    assert job.start() == 4.0
    assert job.start() == 0.0, "it starts once"
    assert job.deadline == 109.0
    now = 108.9
    job.expire()
    assert job.reason is None
    now = 109.1
    job.expire()
    assert (job.reason, job.error().status) == ("time", 504)
    assert job.error().headers == {"x-should-retry": "false"}


def test_one_that_never_began_waited_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    job = Job(timeout=1.0)
    now = 1.5
    job.expire()
    assert (job.reason, job.error().status) == ("queue", 503)
    assert "Retry-After" in job.error().headers


def test_the_first_reason_stays_and_ends_what_computes() -> None:
    job = Job(timeout=1.0)
    job.check()
    job.give_up("disconnect")
    job.give_up("shutdown")
    assert job.reason == "disconnect"
    with pytest.raises(GivenUpError):
        job.check()


def test_numbers_are_in_order_of_arrival() -> None:
    first, second = Job(1.0), Job(1.0)
    assert first.number < second.number
