"""Length limits: from pairs, recorded in a run, read back; runs without them; references that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from clearhead.data.corpora.report import CorpusReport
from clearhead.errors import ModelError
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.pairs_report import PairsReport


def pairs(ratio: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    src = draw.integers(1, 40, count)
    return src, np.maximum(1, np.round(src * ratio * draw.uniform(0.8, 1.2, count))).astype(int)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0])
def test_the_limit_follows_the_pairs(ratio: float) -> None:
    src, tgt = pairs(ratio)
    limit = LengthLimit.of(src, tgt)
    assert 1.2 * ratio * 1.4 < limit.ratio < 1.2 * ratio * 1.6  # the largest, with half as much again
    assert limit.spare >= 20
    rooms = np.array([limit.pieces(int(length)) for length in src])
    assert (tgt + 1 <= rooms).all()
    old = LengthLimit()
    assert [old.pieces(length) for length in (1, 7, 30)] == [22, 34, 80]
    assert (ratio == 4.0) == (tgt + 1 > 2 * src + 20).any()


def test_a_few_wrong_pairs_do_not_make_the_limit() -> None:
    src, tgt = pairs(1.0)
    wrong = LengthLimit.of(np.append(src, [1, 1]), np.append(tgt, [200, 250]))
    assert wrong.pieces(10) == pytest.approx(LengthLimit.of(src, tgt).pieces(10), rel=0.05)
    report = PairsReport.of(CorpusReport(pairs=4002), (np.append(src, [1, 1]), np.append(tgt, [200, 250])), 256)
    assert report.over == 2
    assert report.lines()[-1].endswith("2 of 4,002 references do not fit")


def test_a_run_keeps_what_training_recorded(tmp_path: Path) -> None:
    report = PairsReport.of(CorpusReport(pairs=4000), pairs(3.0), 128)
    (tmp_path / "data-report.json").write_text(json.dumps({"train": report.as_dict(), "valid": {}}))
    assert LengthLimit.read(tmp_path) == report.limit != LengthLimit()


def test_a_run_from_before_has_the_limit_of_then(tmp_path: Path) -> None:
    assert LengthLimit.read(tmp_path) == LengthLimit(2.0, 20)
    (tmp_path / "data-report.json").write_text(json.dumps({"train": CorpusReport(pairs=3).as_dict()}))
    assert LengthLimit.read(tmp_path) == LengthLimit(2.0, 20)


@pytest.mark.parametrize(
    "content", ["{", '{"train": {"length_limit": 3}}', '{"train": {"length_limit": {"ratio": 1}}}',
                '{"train": {"length_limit": {"ratio": "a", "spare": 1}}}',
                '{"train": {"length_limit": {"ratio": -1, "spare": 5}}}'],
)  # fmt: skip
def test_a_damaged_report_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "data-report.json").write_text(content)
    with pytest.raises(ModelError, match=r"data-report\.json"):
        LengthLimit.read(tmp_path)
