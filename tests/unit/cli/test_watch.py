"""``clearhead watch``: lines in a pipe, a picture on a terminal, one look; quiet when the reader leaves."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clearhead.cli import watch
from clearhead.runs.lock import locked
from clearhead.training.events import Begun, Diverging, Evaluated, Event, Finished, Sampled, SampledLine, Stepped
from clearhead.training.writers import JsonLinesWriter
from tests.limits import HANGS
from tests.terminal import Terminal
from tests.toy import assert_one_line, clearhead, environment, in_process

SAMPLED = Sampled(1, (SampledLine("finished", "wanted", "made", 12.0),), {"chrf": 12.0}, 0.1)


def stepped(step: int) -> Stepped:
    return Stepped(step, 0, 2.0, 1e-3, 0.5, 100, 0.25)


def write(path: Path, *events: Event) -> None:
    writer = JsonLinesWriter(path, from_step=10**6)
    for event in events:
        writer.write(event)
    writer.close()


def test_one_look(toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "watch", toy_run, "--once")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"{toy_run}, toy, translation: finished, max steps"
    assert lines[1].startswith("step 120/120  loss ")
    assert lines[2] == "scores on the valid split:"
    assert "samples at step 120:" in lines
    tree = json.loads(clearhead(capsys, "watch", toy_run, "--json").out)
    assert (tree["status"], tree["step"], tree["over"]) == ("finished", 120, True)
    assert len(tree["samples"]["lines"]) == 3
    assert_one_line(clearhead(capsys, "watch", tmp_path / "none", "--once"), 4, "none': no such directory")
    assert clearhead(capsys, "watch", tmp_path, "--once").out == f"{tmp_path}: nothing is trained yet\n"


def test_what_is_no_run_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "seeds" / "seed-0").mkdir(parents=True)
    (tmp_path / "seeds" / "seed-1").mkdir()
    (tmp_path / "seeds" / "summary.json").write_text("{}")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "train.zh").write_text("")
    rules = {
        "seeds": "is a folder of runs, and this takes one of them: seed-0, seed-1",
        "texts": "is not a run directory: it has no recipe.toml",
        "texts/train.zh": "is a file, and this takes a run directory",
    }
    for name, rule in rules.items():
        for words in ([], ["--once"], ["--json"]):
            assert_one_line(clearhead(capsys, "watch", tmp_path / name, *words), 4, rule)


def test_a_reader_of_chinese(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "watch", toy_run, "--once", "--lang", "zh")
    assert "finished" not in said.out
    assert "scores on" not in said.out
    assert "samples at" not in said.out


def test_a_pipe_gets_a_line_for_each_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[list[Event]] = [
        [Begun(0, 3, "tokens"), stepped(1)],
        [stepped(2), Evaluated(2, {"loss": 1.5}, best=True, seconds=1.0), SAMPLED],
        [Diverging(2, 9.5, 4.0, 1, 0.5)],
        [stepped(3), Evaluated(3, {"loss": 1.25}, best=True, seconds=1.0), Finished(3, "max_steps")],
    ]
    lock, writer = locked(tmp_path), JsonLinesWriter(tmp_path / "metrics.jsonl")
    lock.__enter__()

    def pause() -> None:
        if not events:
            lock.__exit__(None, None, None)
            return
        for event in events.pop(0):
            writer.write(event)

    monkeypatch.setattr(watch, "_pause", pause)
    monkeypatch.setattr(watch, "LINE_EVERY", 0.0)
    said = clearhead(capsys, "watch", tmp_path)
    writer.close()
    assert said.code == 0
    who = "another thread of this process"
    assert said.out.splitlines() == [
        f"{tmp_path}: text and model are made ready by {who}",
        f"{tmp_path}: trained by {who}",
        "step 1/3  loss 2.000  lr 1.00e-03  400 tokens/s  0:00 left",
        "step 2: valid loss 1.5000; best",
        "  1  finished -> wanted",
        "     chrF  12  made",
        "step 2/3  loss 2.000  lr 1.00e-03  400 tokens/s  0:01 left",
        "step 2: the loss is 9.500, after 4.000 at step 1: it diverges; train.lr is too high (now 0.5) or "
        "train.warmup_steps too few",
        "step 3: valid loss 1.2500; best",
        "step 3/3  loss 2.000  lr 1.00e-03  400 tokens/s  0:00 left",
        f"{tmp_path}: the last step is taken by {who}",
        f"{tmp_path}: finished, max steps",
    ]


def test_a_terminal_gets_a_picture(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    watch._on_terminal(toy_run)
    shown = screen.getvalue()
    assert "finished, max steps" in shown
    assert "━" in shown
    assert "step 120/120" in shown
    assert "samples at step 120:" in shown


def test_it_ends_quietly_when_the_reader_leaves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clearhead", "watch", str(tmp_path / "none")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline().decode().endswith("there is no such run yet\n")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_it_loads_no_torch(toy_run: Path) -> None:
    look = "from pathlib import Path; from clearhead.verbs.watch.follow import look"
    code = f"import sys; {look}; look(Path({str(toy_run)!r})); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False, timeout=HANGS).returncode == 0


def test_a_real_terminal_and_control_characters_in_samples(tmp_path: Path) -> None:
    bad = Sampled(1, (SampledLine("\x1b]0;title\x07", "w", "m", None),), {}, 0.1)
    write(tmp_path / "metrics.jsonl", Begun(0, 1, "tokens"), stepped(1), bad, Finished(1, "max_steps"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "clearhead", "watch", str(tmp_path)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment()) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 2**16):
                shown += part
        except OSError:
            pass  # its end
        process.wait(HANGS)
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b]0;title" not in shown
    assert "␛]0;title␇".encode() in shown


def test_help_in_a_process() -> None:
    assert "clearhead watch RUN --once" in in_process("watch", "--help").out
