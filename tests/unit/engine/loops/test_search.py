"""The native loop returns a hypothesis a source; that these are the right ones, ``decode/test_native.py`` says."""

import pytest

from clearhead.engine.loops.search import NativeSearch, translate
from clearhead.errors import ModelError
from tests.native import NATIVE, native
from tests.small import small

pytestmark = NATIVE


def test_a_hypothesis_has_a_probability_for_each_piece() -> None:
    model, search, prefixes = native(small(), None, "int8"), NativeSearch(1, 2, beam=3), [[5, 6], []]
    for limit in (1, 2, 9):
        for (found,) in translate(model, [[4, 5], [7]], search, limits=[limit, limit], prefixes=prefixes):
            assert len(found.log_probs) == len(found.ids) + found.complete <= limit
            assert all(number < 0 for number in found.log_probs)
    (begun,) = translate(model, [[4, 5]], search, limits=[9], prefixes=prefixes[:1])
    assert begun[0].ids[:2] == [5, 6]


def test_nothing_is_found_for_nothing() -> None:
    assert translate(native(small()), [], NativeSearch(1, 2), limits=[]) == []


def test_what_text_of_raises_is_raised() -> None:
    def fail(ids: list[int]) -> str:
        raise KeyError(ids[0])

    model, search = native(small()), NativeSearch(1, 2, beam=3, n_best=2)
    with pytest.raises(KeyError, match="5"):
        translate(model, [[4, 5]], search, limits=[9], prefixes=[[5, 6]], text_of=fail)
    assert len(translate(model, [[4, 5]], search, limits=[9], text_of=tuple)[0]) == 2
    with pytest.raises(ModelError, match=r"^n_best = 3: must be from 1 to beam = 2$"):
        translate(model, [[4]], NativeSearch(1, 2, beam=2, n_best=3), limits=[9])
