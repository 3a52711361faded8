"""The lock of a run, so that only one process writes to it; the system releases it when that process ends."""

import contextlib
import errno
import fcntl
import io
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from clearhead.errors import DataError, UsageError
from clearhead.files import open_to_append

NAME = "lock"
MOST = 10_000  # bytes that are read of a lock, which has about a hundred
_held: set[Path] = set()
"""Lock files of this process; the system's lock does not keep its own threads apart."""


@contextlib.contextmanager
def locked(run: Path) -> Iterator[list[str]]:
    """Holds the lock of a run within the ``with`` block.

    It is a record lock (POSIX ``fcntl``) on the file ``lock`` of the run: the system releases it when the process ends,
    for whatever reason, and worker processes do not inherit it. The file names the process that holds the lock. A file
    that a killed process left behind locks nothing, and is taken over.

    Yields:
        A list with one line about the process that left the file behind; empty if there was no such file.

    Raises:
        UsageError: another process or thread holds the lock.
        DataError: the file cannot be created, or somebody has laid a link there.
    """
    path, key = run / NAME, run.resolve() / NAME
    if key in _held:  # and it must not be opened: closing it would release the lock
        raise _in_use(run, "another thread of this process")
    try:
        file = open_to_append(path)
    except OSError as error:
        raise DataError(f"lock of run {str(run)!r} cannot be made: {error.strerror}") from error
    with file:
        _take(file, run)
        file.seek(0)
        left_behind = file.read(MOST)
        file.truncate(0)
        holder = {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.write(f"{json.dumps(holder)}\n".encode())
        file.flush()
        _held.add(key)
        try:
            yield (
                [f"run {str(run)!r} was left by {_owner(left_behind)}, which ended without a word: taken over"]
                if left_behind
                else []
            )
        finally:
            _held.discard(key)
            with contextlib.suppress(OSError):
                path.unlink()


def _take(file: io.BufferedIOBase, run: Path) -> None:
    """Locks the open file; raises UsageError if another process holds the lock."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # if the holder before has deleted the file meanwhile, this lock is on a file that nobody else will open
        locked_file, named_file = os.fstat(file.fileno()), os.stat(run / NAME)
        is_held = locked_file.st_ino == named_file.st_ino
    except FileNotFoundError:
        is_held = False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            return  # this file system has no locks, so that no process can hold one
        is_held = False
    if not is_held:
        file.seek(0)
        raise _in_use(run, _owner(file.read(MOST)))


def _in_use(run: Path, owner: str) -> UsageError:
    return UsageError(f"run {str(run)!r} is in use by {owner}: wait for it, stop it, or name another")


def _owner(text: bytes) -> str:
    """Describes the process that wrote ``text`` into a lock file."""
    try:
        tree = json.loads(text)
        return f"process {tree['process']} on {tree['host']} since {tree['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another process"
