"""A report is what it was after a way through JSON, and adds up."""

import json

from clearhead.data.corpora.report import EXAMPLES, CorpusReport, SideReport


def test_a_report_goes_through_json() -> None:
    report = CorpusReport(read=9, kept=2, pairs=2, dropped={"copy": 7}, examples={"copy": [1, 2, 3, 4, 5]})
    report.count([4, 3, 5], [6], used=True, unk=3)
    report.count([4], [6, 6], used=False)
    report.tgt = SideReport(**{**report.as_dict()["tgt"], "changed": {"A -> a": 2}})
    again = CorpusReport.from_dict(json.loads(json.dumps(report.as_dict())))
    assert again == report
    assert (report.src.tokens_in, report.src.tokens_used, report.src.tokens_dropped, report.src.unknown) == (4, 3, 1, 1)
    said = report.lines()
    assert said[:2] == ["9 lines read, 2 kept as 2 pairs", "  7 dropped, copy: line 1, 2, 3, 4, 5, ..."]
    assert len(report.examples["copy"]) == EXAMPLES
    assert said[-1] == "  target: normalized: A -> a 2"
