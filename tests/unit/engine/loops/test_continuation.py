"""A continuation says why it ended, and counts the piece that ended it."""

from clearhead.engine.loops.continuation import Continuation, never


def test_why_it_ends() -> None:
    text = Continuation()
    assert not text.take(5, -0.5, ends=[2, 3], limit=3, stopped=never)
    assert (text.ids, text.log_probs, text.reason) == ([5], [-0.5], "length")
    assert text.take(3, -1.0, ends=[2, 3], limit=3, stopped=lambda _: True)
    assert (text.ids, text.reason) == ([5, 3], "end")
    stopped = Continuation()
    assert stopped.take(5, -0.5, ends=[2], limit=3, stopped=lambda piece: piece == 5)
    assert stopped.reason == "stop"
    short = Continuation()
    assert short.take(5, -0.5, ends=[2], limit=1, stopped=never)
    assert short.reason == "length"
