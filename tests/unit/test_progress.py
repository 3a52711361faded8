"""Progress callbacks."""

import inspect
from collections.abc import Callable

import pytest

from clearhead.data.sentences import prepare_sentences
from clearhead.data.store import prepare
from clearhead.data.stream import prepare_stream
from clearhead.progress import silent


@pytest.mark.parametrize("work", [prepare, prepare_sentences, prepare_stream])
def test_long_work_is_silent_unless_told_otherwise(work: Callable[..., object]) -> None:
    assert inspect.signature(work).parameters["progress"].default is silent
    silent(1, 2)
