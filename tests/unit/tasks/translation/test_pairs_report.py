"""The report of a training text says how many references the length limit and the model's positions leave out."""

from clearhead.data.corpora.report import CorpusReport
from clearhead.tasks.translation.pairs_report import PairsReport
from tests.unit.tasks.translation.test_length_limit import pairs


def test_positions_bound_it_too() -> None:
    src, tgt = pairs(1.0)
    report = PairsReport.of(
        CorpusReport(pairs=4000, dropped={"too_long": 3}, examples={"too_long": [1]}), (src, tgt), 30
    )
    assert report.over == int((tgt + 1 > 30).sum()) > 0
    assert "at most 30; " in report.lines()[-1]
    assert report.lines()[-1].endswith(
        f"{report.over:,} of 4,000 references do not fit, besides the 3 pairs dropped as too long"
    )
