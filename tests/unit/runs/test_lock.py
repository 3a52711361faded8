"""A run has one writer; a lock that was left behind is explained and does not stand in the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearhead.errors import DataError, UsageError
from clearhead.runs import lock
from clearhead.runs.lock import holder, locked
from tests.limits import HANGS

# another process: takes the lock, says so, and holds it until it is told to end
HOLD = """
import sys, os, signal
from pathlib import Path
from clearhead.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    if sys.stdin.readline() == "die\\n":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def holding(run: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(run)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_in_use_is_refused_until_its_process_ends(tmp_path: Path) -> None:
    process = holding(tmp_path)
    with (
        pytest.raises(UsageError, match=rf"is in use by process {process.pid} on .* since .*: wait for it"),
        locked(tmp_path),
    ):
        pass
    process.communicate("end\n", timeout=HANGS)
    with locked(tmp_path) as notes:
        assert notes == []
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_process_that_was_killed_is_explained_and_taken(tmp_path: Path) -> None:
    process = holding(tmp_path)
    process.communicate("die\n", timeout=HANGS)
    assert (tmp_path / "lock").exists()
    with locked(tmp_path) as notes:
        (line,) = notes
    assert f"was left by process {process.pid} on " in line
    assert "ended without a word: taken over" in line
    (tmp_path / "lock").write_text("\0\0")
    with locked(tmp_path) as notes:
        assert "was left by another process" in notes[0]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lock of run .* cannot be made"), locked(tmp_path / "missing"):
        pass


def test_a_file_system_without_locks_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "lockf", none)
    with locked(tmp_path) as notes:
        assert notes == []


def test_a_holder_that_is_just_leaving_is_waited_for_by_trying_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is gone by the time that the lock is got: somebody else may hold the next one."""
    monkeypatch.setattr(lock.fcntl, "lockf", lambda *_: (tmp_path / "lock").unlink())
    with pytest.raises(UsageError, match="is in use by another process"), locked(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_refused_and_what_it_points_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    (tmp_path / "lock").symlink_to(kept)
    with pytest.raises(DataError, match=r"lock' is a link or a device, and a run writes to files"), locked(tmp_path):
        pass
    assert kept.read_text() == "mine"


def test_threads_of_a_process_are_kept_apart_too(tmp_path: Path) -> None:
    """The lock of the system is that of the process, and closing its file anywhere in the process would release it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with locked(tmp_path / "run"):
        for name in ("run", "link"):
            with pytest.raises(UsageError, match="in use by another thread of this"), locked(tmp_path / name):
                pass
    with locked(tmp_path / "link") as told:
        assert told == []


def test_who_holds_a_lock_is_told_without_touching_it(tmp_path: Path) -> None:
    assert holder(tmp_path) == ""
    process = holding(tmp_path)
    for _ in range(2):
        assert holder(tmp_path).startswith(f"process {process.pid} on ")
        with pytest.raises(UsageError, match="is in use"), locked(tmp_path):
            pass
    process.communicate("die\n", timeout=HANGS)
    assert (tmp_path / "lock").exists()
    assert holder(tmp_path) == "", "what a killed process left behind locks nothing"


def test_a_thread_of_this_process_does_not_lose_its_lock_to_who_asks(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert holder(tmp_path) == "another thread of this process"
        command = [sys.executable, "-c", HOLD, str(tmp_path)]
        other = subprocess.run(command, check=False, input="end\n", capture_output=True, text=True, timeout=HANGS)
        assert other.returncode != 0
    assert holder(tmp_path) == ""


def test_without_locks_the_file_itself_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").write_text('{"process": 5, "host": "h", "since": "s"}')

    def refuse(*arguments: object) -> bytes:
        raise OSError(38, "no locks")

    monkeypatch.setattr(lock.fcntl, "fcntl", refuse)
    assert holder(tmp_path) == "process 5 on h since s"
