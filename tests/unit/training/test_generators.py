"""Random generators restored from JSON continue with the same draws."""

import json
import random

import numpy as np
import pytest
import torch

from clearhead.errors import ModelError
from clearhead.training.generators import generator_states, restore_generators, seed_generators


def draws() -> list[object]:
    """Draws an odd number of normals, so that each generator, which makes them in pairs, has one left over."""
    return [
        [random.gauss(0, 1) for _ in range(3)],
        random.random(),
        np.random.standard_normal(3).tolist(),
        np.random.rand(5).tolist(),
        torch.randn(3).tolist(),
        torch.randint(99, (5,)).tolist(),
    ]


def test_what_is_drawn_next_is_the_same_after_a_way_through_json() -> None:
    draws()
    kept = json.dumps(generator_states())
    expected = draws()
    assert draws() != expected
    restore_generators(json.loads(kept))
    assert draws() == expected
    random.seed(1)
    restore_generators(json.loads(kept))
    assert generator_states() == json.loads(kept)


def test_a_seed_decides_on_all_of_them() -> None:
    seen = []
    for seed in (0, 1, 2**40 + 7, 2**64 - 1, 1):
        seed_generators(seed)
        seen.append(draws())
    assert seen[1] == seen[4]
    for number in range(6):
        assert len({repr(drawn[number]) for drawn in seen}) == 4


@pytest.mark.parametrize("broken", [{}, {"python": [3, "!", None]}, {"python": [3, "AAAA", None]}])
def test_what_is_no_state_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="random generators"):
        restore_generators(broken)
