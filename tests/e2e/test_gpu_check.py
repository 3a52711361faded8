"""``scripts/gpu_check`` with tiny sizes on a CPU: each part's figures, and what becomes of a part that is too slow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.limits import HANGS

ROOT = Path(__file__).resolve().parents[2]
CASES = {
    "gpt": {"clearhead", "hugging face", "nanogpt, compiled"},
    "translate": {"clearhead", "hugging face"},
    "bert": {"clearhead", "hugging face"},
    "generate": {"clearhead, recorded", "clearhead, plain", "hugging face"},
    "char": {"gpt-char"},
}


def check(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, str(ROOT / "scripts" / "gpu_check"), "--out", str(folder), "--tiny", "--device", "cpu"]
    done = subprocess.run([*command, "--no-compile", *words], capture_output=True, check=False, timeout=HANGS)
    logs = "".join(log.read_text() for log in folder.glob("*.log"))
    assert done.stdout.decode() == (folder / "gpu.md").read_text(), done.stderr.decode()
    return done.returncode, json.loads((folder / "gpu.json").read_text()), logs


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize("part", CASES)
def test_a_part_gives_its_figures_without_a_card(part: str, tmp_path: Path) -> None:
    code, report, logs = check(tmp_path, "--only", part)
    assert code == 0, logs
    rows = [row for row in report["rows"] if row["case"] != "the card"]
    assert {row["case"] for row in rows} == CASES[part]
    assert [row for row in rows if "error" in row] == []
    assert all(row["median"] > 0 for row in rows)
    if part in ("gpt", "translate", "bert"):
        assert all(row["mfu"] > 0 and row["n"] == 2 for row in rows)
        assert next(row["first over this"] for row in rows if row["case"] == "clearhead") == pytest.approx(1)
    if part == "generate":
        assert {row["part"] for row in rows} == {"generate-1", "generate-16"}
        assert min(row["same as the first"] for row in rows) > 0.9


def test_a_part_that_is_too_slow_is_ended_and_the_next_one_has_its_turn(tmp_path: Path) -> None:
    code, report, _ = check(tmp_path, "--only", "gpt", "bert", "--seconds", "1.5")
    assert code == 1
    assert [ended.split(" ")[0] for ended in report["parts"].values()] == ["stopped", "stopped"]
    assert set(report["parts"]) == {"gpt", "bert"}
