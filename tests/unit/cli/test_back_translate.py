"""``clearhead back-translate``: a line for every line, the same to the byte however often it was killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.toy import Said, assert_one_line, clearhead, environment

TABLE = '[[data.corpora]]\npath = "{}"\nsrc = "en"\ntgt = "zh"\ntag = "bt"\n'


@pytest.fixture
def mono(toy_data: Path, tmp_path: Path) -> Path:
    text = (toy_data / "train.zh").read_text(encoding="utf-8") * 8
    (tmp_path / "mono.zh").write_text(f"\n{text}", encoding="utf-8")
    return tmp_path / "mono.zh"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_says_what_a_recipe_takes(
    toy_run: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "back-translate", toy_run, mono, "--out", tmp_path / "bt", "--beam", 1)
    assert said.code == 0, said
    assert said.out == TABLE.format(tmp_path / "bt")
    assert said.err.endswith(f"{tmp_path / 'bt'}: 321 lines beside their translations, 1 of them empty\n")
    tree = json.loads(
        clearhead(capsys, "back-translate", toy_run, mono, "--out", tmp_path / "bt", "--beam", 1, "--json").out
    )
    assert tree["lines"] == 321
    assert tree["table"]["tag"] == "bt"
    said = clearhead(capsys, "back-translate", toy_run, mono, "--out", tmp_path / "d", "--distill")
    assert 'src = "zh"\ntgt = "en"\n' in said.out
    assert "tag" not in said.out


@pytest.mark.parametrize("method", ["sample", "noise"])
def test_killed_and_started_again_it_ends_the_same(toy_run: Path, mono: Path, tmp_path: Path, method: str) -> None:
    options = ["--method", method, "--seed", "3", "--buffer", "24"]
    options += ["--beam", "2"] if method == "noise" else []
    command = [sys.executable, "-m", "clearhead", "back-translate", str(toy_run), str(mono), *options, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, env=environment())
    half, kills = tmp_path / "cut.unfinished", 0
    while not (tmp_path / "cut").exists() and kills < 4:
        before = _lines(half)
        process = subprocess.Popen([*command, str(tmp_path / "cut")], stderr=subprocess.DEVNULL, env=environment())
        while process.poll() is None and _lines(half) <= before:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    again = subprocess.run([*command, str(tmp_path / "cut")], check=True, capture_output=True, env=environment())
    assert kills > 1
    assert b"behind line" in again.stderr
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def _lines(folder: Path) -> int:
    """How many lines of an unfinished folder are done."""
    try:
        return int(json.loads((folder / "corpus.json").read_bytes())["lines"])
    except OSError:
        return 0


def test_what_is_wrong_is_told_in_one_line(
    toy_run: Path, toy_lm_run: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: object) -> Said:
        return clearhead(capsys, "back-translate", *words)

    out = tmp_path / "out"
    assert_one_line(told(toy_run, tmp_path / "none", "--out", out), 3, "none cannot be read")
    assert_one_line(told(toy_lm_run, mono, "--out", out), 4, "translation")
    assert_one_line(told(toy_run, mono, "--out", tmp_path), 2, "exists, and is not a folder")
    wrong = told(toy_run, mono, "--out", out, "--distill", "--method", "noise")
    assert_one_line(wrong, 2, "method = 'noise': distillation")
    ignored = told(toy_run, mono, "--out", out, "--top-k", "3")
    assert_one_line(ignored, 2, "--top-k is for --method sample, not beam")
    ignored = told(toy_run, mono, "--out", out, "--method", "sample", "--beam", "3")
    assert_one_line(ignored, 2, "--beam is for --method beam or noise, not sample")
    (tmp_path / "empty").write_bytes(b"")
    assert_one_line(told(toy_run, tmp_path / "empty", "--out", out), 3, "empty is empty")
    assert not out.exists()


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_lines_are_read_with_the_one_before_however_many_at_a_time(
    method: str, stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    for size in (1, 4, 100):
        out = tmp_path / f"by-{size}"
        words = ("--out", out, "--method", method, "--buffer", size)
        said = clearhead(capsys, "back-translate", stories / "run", stories / "test.zh", *words)
        assert said.code == 0, said
        made.append((out / "train.en").read_text(encoding="utf-8"))
    assert made[0] == made[1] == made[2]
    if method == "beam":
        wanted = (stories / "test.en").read_text(encoding="utf-8").split("\n")
        assert sum(one == other for one, other in zip(made[0].split("\n"), wanted, strict=True)) > 0.9 * len(wanted)
