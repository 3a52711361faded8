"""A better checkpoint takes the place of the one that is served, under load: each answer is of one of the two."""

import shutil
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from clearhead.manifest import weights_file
from tests.serving import Server, serving

TEXTS = ["我们今天在家。", "她在吗？", "我们", "我们今天在家。她在吗？"]


def point_to(run: Path, name: str) -> None:
    """Makes a checkpoint the best one, as training does."""
    pointer = run / "checkpoints" / "best"
    fresh = pointer.with_name("best.new")
    fresh.write_text(f"{name}\n", encoding="utf-8")
    fresh.replace(pointer)


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    """A run whose best checkpoint is its first one."""
    copy = tmp_path / "run"
    shutil.copytree(toy_run, copy)
    assert len(steps_of(copy)) >= 2
    point_to(copy, steps_of(copy)[0])
    return copy


def steps_of(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").glob("step-*"))


def answer(server: Server, text: str) -> tuple[str, str]:
    """Returns the checkpoint that answered, and what it said."""
    found = server.post("/translate", {"q": text, "source": "zh", "target": "en"})
    assert found.status == 200, found.text
    return found.headers["x-clearhead-checkpoint"], found.json["translatedText"]


def label(name: str) -> str:
    return f"step-{int(name.removeprefix('step-'))}"


class Load:
    """Threads that ask without a pause, and what they were told by each checkpoint."""

    def __init__(self, server: Server, count: int = 4) -> None:
        self.server, self.over = server, threading.Event()
        self.said: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.failed: list[Exception] = []
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number: int) -> None:
        while not self.over.is_set():
            text = TEXTS[number % len(TEXTS)]
            number += 1
            try:
                by, said = answer(self.server, text)
            except Exception as error:
                self.failed.append(error)
                return
            self.said[by, text].add(said)

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert self.failed == []


def await_checkpoint(server: Server, name: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while answer(server, TEXTS[0])[0] != label(name):
        assert time.monotonic() < deadline, server.said
        time.sleep(0.05)


@pytest.mark.parametrize("by_signal", [False, True])
def test_each_answer_is_of_the_old_or_the_new_checkpoint(by_signal: bool, run: Path) -> None:
    old, new = steps_of(run)[0], steps_of(run)[-1]
    with serving(f"mt={run}", options=[] if by_signal else ["--reload"]) as server:
        load = Load(server)
        try:
            before = {text: answer(server, text) for text in TEXTS}
            assert {by for by, _ in before.values()} == {label(old)}
            created = server.get("/v1/models/mt").json["created"]
            point_to(run, new)
            if by_signal:
                server.process.send_signal(signal.SIGHUP)
            await_checkpoint(server, new)
            after = {text: answer(server, text) for text in TEXTS}
        finally:
            load.end()
        assert {by for by, _ in after.values()} == {label(new)}
        assert any(before[text][1] != after[text][1] for text in TEXTS), "they are two models"
        for (by, text), said in load.said.items():
            assert said == {(before if by == label(old) else after)[text][1]}, (by, text)
        assert {by for by, _ in load.said} == {label(old), label(new)}
        assert server.get("/v1/models/mt").json["created"] >= created
        assert f"{label(new)} in place of {label(old)}" in server.said


def test_a_damaged_checkpoint_is_said_and_the_old_one_stays(run: Path, tmp_path: Path) -> None:
    """Its weights are in no cache, where those of a checkpoint with the same manifest would be found."""
    old, new = steps_of(run)[0], steps_of(run)[-1]
    damaged = run / "checkpoints" / "step-00009999"
    shutil.copytree(run / "checkpoints" / new, damaged)
    weights = weights_file(damaged)
    content = bytearray(weights.read_bytes())
    content[-5] ^= 0xFF
    weights.write_bytes(content)
    with serving(f"mt={run}", options=["--reload"], env={"CLEARHEAD_CACHE": str(tmp_path / "cache")}) as server:
        before = answer(server, TEXTS[0])
        point_to(run, damaged.name)
        deadline = time.monotonic() + 120
        while "stays" not in server.said:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert answer(server, TEXTS[0]) == before
        assert server.get("/ready").json["models"] == {"mt": label(old)}
        time.sleep(3)
        assert server.said.count("stays") == 1, "it is said once"
        point_to(run, new)
        await_checkpoint(server, new)
