"""Starts two processes that train together, as torchrun does, and what they run: a list of trainings, or one that dies.

``python -m tests.two_processes RUNS.json`` is one of the two; RUNS.json holds the keyword arguments of each training.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.limits import HANGS
from tests.toy import environment

Runs = list[dict[str, Any]]


def together(runs: Runs, folder: Path, *, count: int = 2) -> None:
    """Trains each of ``runs`` in ``count`` processes, one run after the other."""
    path = folder / "runs.json"
    path.write_text(json.dumps(runs))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.two_processes", str(path)],
            env={**environment(), **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=HANGS)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, "\n".join(said)


def under_torchrun(run: dict[str, Any], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Trains ``run`` in two processes of torchrun; ``die_at`` in it kills the second at that step, the first time."""
    path = folder / "run.json"
    path.write_text(json.dumps([run]))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *options]
    command += ["-m", "tests.two_processes", str(path)]
    env = {**environment(), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=HANGS)


def main(path: Path) -> None:
    from clearhead.errors import ClearheadError
    from clearhead.training import loop
    from clearhead.verbs.train import train

    for run in json.loads(path.read_text()):
        deadly = run.pop("die_at", None)
        if deadly and os.environ["RANK"] == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0":
            take = loop.step_on

            def dying(*args: Any, take: Any = take, deadly: int = deadly, **named: Any) -> Any:
                if args[3] == deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
                return take(*args, **named)

            loop.step_on = dying
        try:
            train(**run)
        except ClearheadError as error:
            sys.stderr.write(f"said: {error}\n")
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
