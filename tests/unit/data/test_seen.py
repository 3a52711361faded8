"""What has been seen is known again, whatever chunks it comes in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clearhead.data.seen import Seen


@given(chunks=st.lists(st.lists(st.integers(0, 30).map(str), max_size=12), max_size=12))
def test_duplicates_are_what_a_set_says(chunks: list[list[str]]) -> None:
    seen, known = Seen(), set()
    for chunk in chunks:
        expected = []
        for text in chunk:
            expected.append(text not in known)
            known.add(text)
        assert seen.new(chunk).tolist() == expected


def test_memory_of_duplicates_is_eight_bytes_a_text() -> None:
    seen = Seen()
    for start in range(0, 64_000, 1000):
        assert seen.new([str(number) for number in range(start, start + 1000)]).all()
    assert sum(run.nbytes for run in seen._runs) == 8 * 64_000
    assert len(seen._runs) <= 8
    assert not seen.new(["0", "63999"]).any()
    assert np.array_equal(np.sort(seen._runs[0]), seen._runs[0])
