"""``clearhead shortlist``: what it learns is kept in the run, and used by ``translate --shortlist`` and in one file."""

import json
import shutil
from pathlib import Path

import pytest

from tests.native import NATIVE
from tests.toy import assert_one_line, clearhead


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(toy_run, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_learns_one(run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "translate", run, "我", "--shortlist")
    assert_one_line(said, 4, f"{str(run)!r} has no shortlist: `clearhead shortlist RUN --data DIR` learns one")
    said = clearhead(capsys, "shortlist", run, "--data", toy_data)
    assert said.code == 0
    assert said.out.startswith(f"{run / 'shortlist.npz'}: ")
    assert "pieces may translate a sentence" in said.out
    tree = json.loads(
        clearhead(capsys, "shortlist", run, "--data", toy_data, "--best", 2, "--frequent", 0, "--json").out
    )
    assert tree["pairs"] == 40
    assert tree["pieces"] < 120
    assert 0 < tree["covered"] < 1
    texts = [clearhead(capsys, "translate", run, "我吃了一个苹果。", *more) for more in ([], ["--shortlist"])]
    assert [said.code for said in texts] == [0, 0]
    (run / "shortlist.npz").write_bytes(b"PK")
    assert_one_line(
        clearhead(capsys, "translate", run, "我", "--shortlist"), 4, "shortlist.npz' is damaged or another's"
    )


@NATIVE
def test_one_file_takes_it_along(run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare, file = tmp_path / "bare.clearhead", tmp_path / "short.clearhead"
    assert clearhead(capsys, "export", run, "--to", "file", "--out", bare).code == 0
    assert clearhead(capsys, "shortlist", run, "--data", toy_data, "--best", 2, "--frequent", 0).code == 0
    assert clearhead(capsys, "export", run, "--to", "file", "--out", file).code == 0
    words = ["translate", "我吃了一个苹果。", "她喝水。", "--json"]
    plain = clearhead(capsys, *words[:1], run, *words[1:])
    short = clearhead(capsys, *words[:1], run, *words[1:], "--shortlist")
    assert plain.out != short.out
    assert clearhead(capsys, *words[:1], file, *words[1:]).out == plain.out
    assert clearhead(capsys, *words[:1], file, *words[1:], "--shortlist").out == short.out
    by_torch = clearhead(capsys, *words[:1], run, *words[1:], "--shortlist", "--engine", "torch")
    for one, other in zip(by_torch.out.splitlines(), short.out.splitlines(), strict=True):
        found, wanted = (json.loads(line)["translations"][0] for line in (one, other))
        assert found["pieces"] == wanted["pieces"]
        assert found["log_probs"] == pytest.approx(wanted["log_probs"], abs=1e-4)
    said = clearhead(capsys, *words[:1], bare, *words[1:], "--shortlist")
    assert_one_line(said, 4, f"{str(bare)!r} has no shortlist")


def test_what_is_no_translator_is_one_line(
    toy_lm_run: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clearhead(capsys, "shortlist", toy_lm_run, "--data", tmp_path).code == 4
    assert_one_line(clearhead(capsys, "shortlist", run, "--data", tmp_path), 3, "train.zh")
    assert clearhead(capsys, "shortlist", run, "--data", tmp_path, "--best", 0).code == 2
    assert clearhead(capsys, "shortlist", run).code == 2
