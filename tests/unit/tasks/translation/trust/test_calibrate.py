"""A calibration is the least-squares fit of chrF, and is scored on lines that it has not seen."""

import numpy as np
import pytest

from clearhead.tasks.translation.trust import calibrate as module
from clearhead.tasks.translation.trust.calibrate import fit, learned

ABOUT = {"step": 1, "beam": 5, "length_penalty": 1.0, "split": "valid"}


def test_the_fit_is_that_of_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(80, 5)) * [1, 10, 0.1, 3, 1] + [0, 5, 1, 0, 0]
    truth = table @ [3, 1, 20, 0, -2] + 40 + rng.normal(size=80)
    monkeypatch.setattr(module, "RIDGE", 0.0)
    expected = np.linalg.lstsq(np.column_stack([np.ones(80), table]), truth, rcond=None)[0]
    assert fit(table, truth) == pytest.approx(expected)


def test_a_feature_that_never_changes_has_no_weight() -> None:
    table = np.column_stack([np.arange(60.0), np.full(60, 3.0), np.zeros(60), np.zeros(60), np.zeros(60)])
    weights = fit(table, table[:, 0] / 2 + 10)
    assert weights[0] + table @ weights[1:] == pytest.approx(table[:, 0] / 2 + 10, abs=0.6)
    assert weights[2:].tolist() == [0.0] * 4


def test_what_is_told_is_of_lines_that_were_left_out() -> None:
    """Where nothing can be learned the correlation is near zero; that of the lines fitted would be far above it."""
    rng = np.random.default_rng(3)
    table, truth = rng.normal(size=(60, 5)), rng.uniform(0, 100, 60)
    made = learned(table, truth, **ABOUT)
    own = np.corrcoef(made.weights[0] + table @ np.array(made.weights[1:]), truth)[0, 1]
    assert made.pearson < 0.1 < own
    clear = learned(table, 50 + 10 * table[:, 0] + 5 * table[:, 2], **ABOUT)
    assert clear.pearson > 0.99
    assert clear.spearman > 0.99
    assert clear.pearson_of_mean == pytest.approx(np.corrcoef(table[:, 0], 2 * table[:, 0] + table[:, 2])[0, 1])
    assert clear.off < 1
    assert (clear.lines, clear.beam, clear.split) == (60, 5, "valid")
