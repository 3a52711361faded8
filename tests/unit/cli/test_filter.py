"""``clearhead filter``: what it drops is counted on stdout, and what stays is written."""

import json
from pathlib import Path

import pytest

from tests.toy import assert_one_line, clearhead


def test_it_counts_and_writes(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clean"
    said = clearhead(capsys, "filter", toy_run, "--data", toy_data, "--keep", 0.5, "--out", out)
    assert said.code == 0, said
    assert said.out.startswith("40 lines read, 20 kept as 20 pairs\n  20 dropped, score: line ")
    assert "the worst score kept is -" in said.out
    assert len((out / "train.en").read_text(encoding="utf-8").splitlines()) == 20
    tree = json.loads(
        clearhead(capsys, "filter", toy_run, "--data", toy_data, "--set", "data.filters.script=0.5", "--json").out
    )
    assert (tree["folder"], tree["least"], tree["kept"], tree["dropped"]) == (None, None, 40, {})


def test_what_is_wrong_is_told_in_one_line(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "filter", toy_run, "--data", toy_data, "--out", tmp_path)
    assert_one_line(said, 2, f"--out {str(tmp_path)!r}: exists; name another folder")
    said = clearhead(capsys, "filter", toy_run, "--data", toy_data, "--set", "data.filters.script=2")
    assert_one_line(said, 2, "filters.script = 2")
    said = clearhead(capsys, "filter", toy_run, "--data", toy_data, "--split", "trian")
    assert_one_line(said, 3, "trian.zh: no such file")
