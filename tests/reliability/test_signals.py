"""A signal to the whole group of processes: the run is saved, and the command that is printed goes on with it."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from clearhead.training.writers import read_metrics
from tests.limits import HANGS
from tests.toy import await_steps, clearhead, endless, environment, write_recipe


@pytest.mark.long
@pytest.mark.parametrize(("number", "code", "workers"), [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 2)])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals,
    code: int,
    workers: int,
    toy_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole process group gets it, data workers too."""
    recipe = write_recipe(tmp_path / "toy.toml")
    process = subprocess.Popen(
        endless(recipe, toy_data, workers),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
    )
    metrics = tmp_path / "runs" / "toy-001" / "metrics.jsonl"
    await_steps(metrics)
    os.killpg(process.pid, number)
    out, err = (stream.decode() for stream in process.communicate(timeout=HANGS))
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert out == f"{Path('runs') / 'toy-001'}\n"
    last = err.splitlines()[-1]
    step = int(last.split("interrupted at step ")[1].split(";")[0])
    assert (metrics.parent / "checkpoints" / f"step-{step:08d}").is_dir()
    if number is signal.SIGINT:
        printed = shlex.split(last.split("go on with: clearhead ")[1])
        monkeypatch.chdir(tmp_path)
        said = clearhead(capsys, *printed, "--set", f"train.max_steps={step + 2}")
        assert said.code == 0, said
        stepped = [record["step"] for record in read_metrics(metrics) if record["event"] == "stepped"]
        assert stepped == list(range(1, step + 3))
