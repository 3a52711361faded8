"""The native loop returns a hypothesis a source; that these are the right ones, ``decode/test_native.py`` says."""

from clearhead.engine.search import NativeSearch, translate
from tests.native import NATIVE, native
from tests.small import small

pytestmark = NATIVE


def test_a_hypothesis_has_a_probability_for_each_piece() -> None:
    model, search = native(small(), None, "int8"), NativeSearch(1, 2, beam=3, prefixes=[[5, 6], []])
    for limit in (1, 2, 9):
        for found in translate(model, [[4, 5], [7]], search, limits=[limit, limit]):
            assert found is not None
            assert len(found.log_probs) == len(found.ids) + found.complete <= limit
            assert all(number < 0 for number in found.log_probs)
    assert [found.ids[:2] for found in translate(model, [[4, 5]], search, limits=[9]) if found] == [[5, 6]]


def test_nothing_is_found_for_nothing() -> None:
    assert translate(native(small()), [], NativeSearch(1, 2), limits=[]) == []
