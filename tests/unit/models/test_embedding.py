"""The shorter one of two limits decides how long a text may be, and is the one that an error names."""

import pytest

from clearhead.models.embedding import EmbeddingConfig


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, ("model.max_seq_len", 40)),
        (12, ("embedding.max_seq_len", 12)),
        (40, ("model.max_seq_len", 40)),
        (99, ("model.max_seq_len", 40)),
    ],
)
def test_longest(own: int | None, expected: tuple[str, int]) -> None:
    assert EmbeddingConfig(max_seq_len=own).longest(40) == expected
