"""One vector of a text's states: what counts, padding on either side, and length 1."""

import pytest
import torch

from clearhead.models.pooling import EmbeddingConfig, pooled

STATES = torch.tensor([[[1.0, -5.0], [3.0, -2.0], [100.0, 100.0]], [[100.0, 100.0], [-1.0, 4.0], [-7.0, 2.0]]])
REAL = torch.tensor([[True, True, False], [False, True, True]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2.0, -3.5], [-4.0, 3.0]]),
        ("first", [[1.0, -5.0], [-1.0, 4.0]]),
        ("max", [[3.0, -2.0], [-1.0, 4.0]]),
    ],
)
def test_padding_never_counts(pooling: str, expected: list[list[float]]) -> None:
    config = EmbeddingConfig(pooling)  # type: ignore[arg-type]
    vectors = pooled(STATES, REAL, config)
    torch.testing.assert_close(vectors, torch.tensor(expected))
    unit = pooled(STATES, REAL, EmbeddingConfig(pooling, normalize=True))  # type: ignore[arg-type]
    torch.testing.assert_close(unit, vectors / vectors.norm(dim=1, keepdim=True))
