"""A server as a process: its address, what keeps it from starting, signals, and its end."""

import gc
import shutil
import signal
import socket
import time
import weakref
from pathlib import Path

import pytest

from clearhead.errors import UsageError
from clearhead.serve.process import bound, check_open, settle
from clearhead.serve.settings import ServeSettings
from tests.serving import Server, serving


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--host 127.0.0.1 --port {port}: Address already in use"):
            bound(ServeSettings(port=port))
    with pytest.raises(UsageError, match=r"--host nowhere.invalid --port 8400: "):
        bound(ServeSettings(host="nowhere.invalid"))


def test_others_may_ask_only_with_keys_or_where_that_is_wanted() -> None:
    for host in ("0.0.0.0", "192.168.0.7", "::"):
        with pytest.raises(UsageError, match="--api-key FILE, or say --open"):
            check_open(ServeSettings(host=host))
        check_open(ServeSettings(host=host, open=True))
        check_open(ServeSettings(host=host, api_key=Path("keys")))
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.2"):
        check_open(ServeSettings(host=host))


def test_what_is_there_for_good_is_not_looked_through() -> None:
    thresholds = gc.get_threshold()
    try:
        settle()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > thresholds[0]
        seen = weakref.ref(Waste())
        gc.collect()
        assert seen() is None, "what is made later is"
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


class Waste:
    """Refers to itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: int, toy_run: Path) -> None:
    with serving(toy_run) as server:
        assert server.get("/health").status == 200
        assert server.end(number) == 0
        assert server.said == ""


def test_a_hangup_loads_what_has_changed(toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    pointer = run / "checkpoints" / "best"
    names = sorted(path.name for path in (run / "checkpoints").iterdir() if path.is_dir())
    pointer.write_text(f"{names[0]}\n")
    with serving(run) as server:
        before = step(server)
        pointer.write_text(f"{names[-1]}\n")
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while step(server) == before:
            assert time.monotonic() < end, server.said
            time.sleep(0.05)
        assert f"{step(server)} in place of {before}" in server.said


def step(server: Server) -> str:
    (label,) = server.get("/ready").json["models"].values()
    return str(label)
