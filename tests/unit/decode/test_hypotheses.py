"""What a search is asked is checked as a whole, and scores are divided by the penalty of Wu et al."""

import pytest

from clearhead.decode.hypotheses import SearchConfig, penalty_of
from clearhead.errors import SettingError


def test_no_more_is_returned_than_is_kept() -> None:
    assert SearchConfig(3, 3).n_best == 3
    with pytest.raises(SettingError, match="n_best = 4: must be at most beam = 3"):
        SearchConfig(3, 4)


def test_the_penalty_grows_with_length() -> None:
    assert [penalty_of(length, 0.0) for length in (1, 9)] == [1, 1]
    assert penalty_of(7, 1.0) == 2
    assert penalty_of(19, 0.5) == 2
