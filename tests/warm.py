"""Commands without the seconds in which each loads torch: they run in children of a process that has loaded it.

``warm_programs`` gives a folder for the front of PATH. The ``clearhead`` and ``python`` in it hand their words, folder,
environment and streams to the warm process, whose child runs them, and end with the status of that child.
"""

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

PROGRAM = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as warm:
    warm.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {most})
    warm.connect({address!r})
    name, *words = sys.argv
    asked = {{"name": os.path.basename(name), "words": words, "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(warm, [json.dumps(asked).encode()], [0, 1, 2])
    sys.exit(int(warm.recv(8) or 70))
"""
# what commands load in their course, the first optimizer torch._dynamo for one
LATE = ("torch._dynamo", "pydantic.type_adapter", "matplotlib.backends.backend_agg", "sacrebleu", "transformers")
MOST = 1 << 17  # bytes of one command with its environment


@contextmanager
def warm_programs(folder: Path) -> Iterator[Path]:
    """Gives the folder of the two programs, which work as long as the context lasts."""
    address, programs = folder / "warm", folder / "bin"
    programs.mkdir()
    for name in ("clearhead", "python"):
        (programs / name).write_text(PROGRAM.format(python=sys.executable, address=str(address), most=MOST))
        (programs / name).chmod(0o755)
    command = [sys.executable, "-m", "tests.warm", str(address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield programs
        finally:
            server.kill()


def serve(address: str) -> None:
    """Loads the package, then runs each command that comes in a child of its own."""
    import clearhead

    ours = [module.name for module in pkgutil.walk_packages(clearhead.__path__, "clearhead.")]
    for name in [*ours, *LATE]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:  # its end is that of who started this
        connection, _ = listener.accept()
        content, streams, _, _ = socket.recv_fds(connection, MOST, 3)
        if not os.fork():
            connection.send(str(_status(json.loads(content), streams)).encode())
            os._exit(0)
        for stream in (*streams, connection.detach()):
            os.close(stream)


def _status(asked: dict[str, Any], streams: list[int]) -> int:
    """Runs a command in this process, which is a child made for it, and returns the status that it ends with."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    try:
        _run(asked["name"], asked["words"])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _run(name: str, words: list[str]) -> None:
    sys.argv = [name, *words]
    if name == "clearhead":
        from clearhead.__main__ import main

        main()
    else:
        option, code = words
        assert option == "-c"
        sys.modules["__main__"] = program = ModuleType("__main__")  # by which what it defines is found
        exec(compile(code, "<string>", "exec"), program.__dict__)


if __name__ == "__main__":
    serve(sys.argv[1])
