"""One process at a time writes to a run: a lock on a file in it, which the system lets go of when the process dies."""

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


@contextlib.contextmanager
def locked(run: Path) -> Iterator[list[str]]:
    """Holds the lock of a run.

    It is a record lock (POSIX ``fcntl``): the system drops it when the process ends, however that comes about, and
    worker processes do not inherit it. The file says who holds it; one that was left by a process that is no more does
    not stand in the way.

    Yields:
        A line on what was left behind, if anything.

    Raises:
        UsageError: another process holds it.
        DataError: the file cannot be made, or somebody has laid a link there.
    """
    path = run / NAME
    try:
        file = open_to_append(path)
    except OSError as error:
        raise DataError(f"lock of run {str(run)!r} cannot be made: {error.strerror}") from error
    with file:
        _take(file, run)
        file.seek(0)
        left = file.read(MOST)
        file.truncate(0)
        owner = {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.write(f"{json.dumps(owner)}\n".encode())
        file.flush()
        try:
            yield (
                [f"run {str(run)!r} was left by {_owner(left)}, which ended without a word: taken over"] if left else []
            )
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _take(file: io.BufferedIOBase, run: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine, there = os.fstat(file.fileno()), os.stat(run / NAME)
        free = mine.st_ino == there.st_ino
    except FileNotFoundError:  # its holder was just leaving
        free = False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            return  # a file system without locks: nobody can hold one
        free = False
    if not free:
        file.seek(0)
        raise UsageError(
            f"run {str(run)!r} is in use by {_owner(file.read(MOST))}: wait for it, stop it, or name another"
        )


def _owner(text: bytes) -> str:
    try:
        tree = json.loads(text)
        return f"process {tree['process']} on {tree['host']} since {tree['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another process"
