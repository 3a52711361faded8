"""Confidence is a weighted sum of what a translation's log-probabilities are; what is no calibration is one line."""

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import ModelError
from clearhead.tasks.translation.result import EMPTY, Translation
from clearhead.tasks.translation.translator import Translator
from clearhead.tasks.translation.trust.confidence import (
    FILE,
    Calibration,
    features,
    read_calibration,
    restored,
    usable,
)
from clearhead.verbs.quick import open_translator

MADE = Calibration((50.0, 10.0, 20.0, 1.0, 2.0, 4.0), 7, 5, 1.0, "valid", 100, 0.5, 0.4, 0.3, 2.5)


def translation(*log_probs: float, source: int = 2) -> Translation:
    return Translation("x", 0.0, 0.0, ["p"] * len(log_probs), list(log_probs), ["s"] * source)


def test_what_is_looked_at() -> None:
    found = features(translation(-0.5, -1.5, -1.0, -1.0))
    assert found.tolist() == pytest.approx([-1.0, math.exp(-1), -1.5, math.log(4), math.log(2)])


def test_a_translation_is_rated_by_its_parts() -> None:
    one, other = translation(-0.5, -1.5), translation(-0.1, -0.1, -0.1, -0.1)
    first = MADE.rate(one)
    assert first == pytest.approx(50 - 10 + 20 * math.exp(-1) - 1.5 + 2 * math.log(2))
    second = MADE.rate(other)
    assert first is not None
    assert second is not None
    both = replace(EMPTY, of_parts=[one, EMPTY, other], log_probs=one.log_probs + other.log_probs)
    assert MADE.rate(both) == pytest.approx((2 * first + 4 * second) / 6)
    assert MADE.rate(EMPTY) is None
    assert MADE.rate(translation(-100.0)) == 0.0
    assert replace(MADE, weights=(200.0, *MADE.weights[1:])).rate(one) == 100.0


def test_a_run_keeps_it(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    MADE.save(tmp_path)
    assert read_calibration(tmp_path) == MADE
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    with pytest.raises(ModelError, match="cannot be written"):
        MADE.save(tmp_path / "nowhere")


def test_it_is_of_one_checkpoint() -> None:
    assert usable(MADE, 7) is MADE
    with pytest.raises(ModelError, match="has no calibration: `clearhead calibrate RUN --data DIR` makes one"):
        usable(None, 7)
    with pytest.raises(ModelError, match="is of step 7, the weights are of step 8: `clearhead calibrate"):
        usable(MADE, 8)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weights": [1.0]}, "it has 1 weights, not 6"),
        ({"weights": 3}, "not iterable"),
        ({"weights": [math.nan] * 6}, "no numbers"),
        ({"beam": "5"}, "no numbers"),
        ({"step": True}, "no numbers"),
        ({"more": 1}, "its keys are others"),
    ],
)
def test_what_is_damaged(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({**asdict(MADE), **change}))
    with pytest.raises(ModelError, match=rf"confidence.json' is damaged: .*{reason}.*; `clearhead calibrate"):
        usable(read_calibration(tmp_path), 7)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_calibration(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        restored(content, tmp_path)


def test_a_damaged_one_is_of_who_asks_for_confidence_alone(toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    (run / FILE).write_text("{")
    loaded = Translator.load(run, device="cpu")
    packed = open_translator(run, checkpoint="best", device="cpu", weights="float32", engine="auto")
    for translator in (loaded, packed):
        assert translator.translate("他喝水。").text == loaded.translate("他喝水。").text
        with pytest.raises(ModelError, match=r"^the calibration in '.*confidence.json' is damaged: .*; `clearhead"):
            translator.translate("他喝水。", confidence=True)
