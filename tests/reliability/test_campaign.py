"""Short forms of the campaign: a few deaths in each family, with and without workers; damage at a few places."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_killed_runs_end_as_those_that_were_not(tmp_path: Path) -> None:
    kills, places = 40, 20
    command = [sys.executable, "-m", "tests.reliability.campaign", "--folder", str(tmp_path)]
    command += ["--kills", str(kills), "--places", str(places)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout)
    assert (found["lost"], found["different"], found["failed"], found["unseen"]) == (0, 0, 0, 0)
    assert found["kills"] >= kills
    assert found["runs"] >= min(kills, 6)
    assert found["damaged"].keys() == {"translation", "gpt", "bert"}
    for damaged in found["damaged"].values():
        assert damaged["flips"] == damaged["cuts"] == places * damaged["files"] >= places * 7
