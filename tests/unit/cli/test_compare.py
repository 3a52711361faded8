"""``clearhead compare``: a table whose columns stand in line, JSON, and runs that do not go together."""

import json
import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from clearhead.cli.compare import render
from clearhead.verbs.compare import ComparedRun, Comparison
from tests.toy import assert_one_line, clearhead


def test_columns_stand_in_line_whatever_the_runs_are_called(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        ComparedRun(name, "[b]模型", 1234567, {"BLEU": 12.3456, "BLEU, long": long}, 99.6, None)
        for name, long in (("运行/一", 1.0), ("runs/[red]two", None))
    ]
    table = render(Comparison("test", "", runs), plain=True)
    console = Console(width=200, highlight=False, markup=False)
    console.print(table)
    lines = capsys.readouterr().out.splitlines()
    assert len({cell_len(line) for line in lines}) == 1
    assert lines[0].split() == ["test", "运行/一", "runs/[red]two"]
    assert [line.split()[-2:] for line in lines[1:]] == [
        ["[b]模型", "[b]模型"], ["12.346", "12.346"], ["1.000", "-"], ["1,234,567", "1,234,567"], ["100", "100"],
        ["-", "-"],
    ]  # fmt: skip


def test_runs_side_by_side(
    toy_run: Path, toy_lm_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(toy_run, tmp_path / "复制")
    words = ["--data", toy_data, "--split", "valid", "--beam", "1"]
    said = clearhead(capsys, "compare", toy_run, copied, *words)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split() == ["valid", str(toy_run), str(copied)]
    (row,) = [line for line in lines if line.startswith("BLEU above the first run")]
    assert row.split()[5:] == ["-", "+0.000", "(+0.000", "to", "+0.000),", "p", "1.000"]
    assert lines[-1] == "BLEU by length: thirds of the split by characters of the source; BLEU's tokenizer 13a"
    assert "━" not in said.out
    tree = json.loads(clearhead(capsys, "compare", toy_run, "--json", "--tokenize", "char", *words).out)
    assert tree["split"] == "valid"
    assert tree["runs"][0]["scores"]["BLEU"] >= 0
    assert tree["note"].endswith("; BLEU's tokenizer char")
    said = clearhead(capsys, "compare", toy_run, toy_lm_run, *words)
    assert_one_line(said, 2, "for language modelling: there is nothing to compare them by")
    assert_one_line(clearhead(capsys, "compare", *words), 2, "RUN...")
