"""Outputs become probabilities or numbers, by numpy as by PyTorch; what is no text of the run is told apart."""

import numpy as np
import pytest
import torch

from clearhead.data.labels.labels import Labels
from clearhead.errors import DataError
from clearhead.tasks.classify.native import values_of
from clearhead.tasks.classify.texts import _both

OUT = np.random.default_rng(0).normal(0.0, 30.0, (5, 3)).astype(np.float32)


def test_probabilities_as_by_pytorch() -> None:
    expected = torch.from_numpy(OUT).double().softmax(dim=1).numpy()
    assert values_of(OUT, Labels(("a", "b", "c"), pairs=False)) == pytest.approx(expected, rel=1e-12)


def test_numbers_get_their_scale_back() -> None:
    found = values_of(OUT[:, :1], Labels((), pairs=False, mean=3.0, deviation=2.0))
    assert found.tolist() == [[value * 2.0 + 3.0] for value in OUT[:, 0].astype(float).tolist()]


def test_outputs_that_are_not_finite_warn_of_nothing() -> None:
    out = np.array([[np.inf, 0.0], [np.nan, 0.0]], np.float32)
    assert np.isnan(values_of(out, Labels(("a", "b"), pairs=False))).any(axis=1).all()


def test_one_text_or_two() -> None:
    assert _both("a", pairs=False) == ("a", None)
    assert _both(("a", "b"), pairs=True) == ("a", "b")
    with pytest.raises(DataError, match=r"^one text, but the run is for pairs$"):
        _both("a", pairs=True)
    with pytest.raises(DataError, match=r"^two texts, but the run is for single ones$"):
        _both(("a", "b"), pairs=False)
    with pytest.raises(DataError, match=r"^the text is empty$"):
        _both(("a", " "), pairs=True)
