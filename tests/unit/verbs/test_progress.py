"""Progress: numbers of the steps since the last line, time left, a bar only on a terminal."""

import logging
import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from clearhead.training.events import (
    Diverging,
    Evaluated,
    Event,
    Finished,
    NotSaved,
    Sampled,
    SampledLine,
    Saved,
    Sized,
    Skipped,
    Stepped,
)
from clearhead.training.writers import read_metrics
from clearhead.verbs.progress import LogWriter, ProgressWriter
from clearhead.verbs.train import train
from tests.terminal import Terminal
from tests.toy import RECIPE, await_steps, endless, environment, write_recipe


def steps(count: int) -> list[Stepped]:
    return [Stepped(step, 0, float(step), 1e-3, 0.5, 100, 0.5) for step in range(1, count + 1)]


def test_lines_hold_means_over_the_steps_since_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    writer = ProgressWriter(4, every_seconds=1000.0)
    writer._steps._shown = float("inf")
    for event in steps(4):
        writer.write(event)
    assert capsys.readouterr().err == "step 4/4  loss 2.500  lr 1.00e-03  200 tokens/s  0:00 left\n"
    writer = ProgressWriter(7204, every_seconds=0.0)
    for event in steps(2):
        writer.write(event)
    assert (
        capsys.readouterr().err.splitlines()[-1] == "step 2/7204  loss 2.000  lr 1.00e-03  200 tokens/s  1:00:01 left"
    )


def test_evaluations_and_the_end_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    writer = ProgressWriter(9)
    writer.write(Evaluated(3, {"loss": 1.5}, best=True, seconds=1.0))
    writer.write(Evaluated(6, {"loss": 2.0, "bleu": 1.0}, best=False, seconds=1.0))
    writer.write(Saved(6, Path("x")))
    writer.write(Finished(6, "early_stop"))
    writer.close()
    assert capsys.readouterr().err.splitlines() == [
        "step 3: valid loss 1.5000; best",
        "step 6: valid loss 2.0000, bleu 1.0000",
        "step 6: finished, early stop",
    ]


def test_what_goes_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    writer = ProgressWriter(9)
    writer.write(Skipped(3, 0, float("nan"), 2.0, 2, "lines 4, 7", 0.1))
    writer.write(Skipped(3, 0, 1.5, float("inf"), 3, "", 0.1))
    writer.write(Diverging(40, 9.5, 4.0, 21, 0.5))
    assert capsys.readouterr().err.splitlines() == [
        "step 3 skipped: loss nan, gradient norm 2.0, not finite (2 in a row): lines 4, 7",
        "step 3 skipped: loss 1.5, gradient norm inf, not finite (3 in a row)",
        "step 40: the loss is 9.500, after 4.000 at step 21: it diverges; train.lr is too high (now 0.5) or "
        "train.warmup_steps too few",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    writer = ProgressWriter(3)
    for event in steps(3):
        writer.write(event)
    writer.write(Evaluated(3, {"loss": 1.5}, best=True, seconds=1.0))
    writer.close()
    assert "3/3" in screen.getvalue()
    assert "valid loss 1.5000; best" in screen.getvalue()


def test_the_logger_gets_the_same_lines_by_how_much_they_matter(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[Event] = [
        *steps(2),
        Skipped(3, 0, float("nan"), 2.0, 2, "", 0.1),
        Evaluated(3, {"loss": 1.5}, best=True, seconds=1.0),
        NotSaved(3, "the disk is full"),
        Saved(3, Path("x")),
        Finished(3, "early_stop"),
    ]
    writer, shown = LogWriter(9, every_seconds=0.0), ProgressWriter(9, every_seconds=0.0)
    with caplog.at_level(logging.INFO, logger="clearhead"):
        for event in events:
            writer.write(event)
            assert capsys.readouterr() == ("", "")
            shown.write(event)
            capsys.readouterr()
        writer.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "step 1/9  loss 1.000  lr 1.00e-03  200 tokens/s  0:04 left"),
        ("INFO", "step 2/9  loss 2.000  lr 1.00e-03  200 tokens/s  0:03 left"),
        ("WARNING", "step 3 skipped: loss nan, gradient norm 2.0, not finite (2 in a row)"),
        ("INFO", "step 3: valid loss 1.5000; best"),
        ("WARNING", "step 3: the disk is full; training goes on"),
        ("INFO", "step 3: finished, early stop"),
    ]
    assert {record.name for record in caplog.records} == {"clearhead"}


@pytest.mark.long
def test_a_terminal_that_is_closed_loses_nothing(toy_data: Path, tmp_path: Path) -> None:
    """Neither by its signal nor by what cannot be printed any more."""
    recipe = write_recipe(tmp_path / "toy.toml")
    child, terminal = pty.fork()
    if not child:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which tests may run, has it ignored
        os.execve(sys.executable, endless(recipe, toy_data), environment())
    run = tmp_path / "runs" / "toy-001"
    await_steps(run / "metrics.jsonl", lambda: os.read(terminal, 2**16))
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    step = read_metrics(run / "metrics.jsonl")[-1]["step"]
    assert (run / "checkpoints" / f"step-{step:08d}").is_dir()


def test_nothing_is_printed_unless_asked_for_and_all_is_logged(
    toy_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    recipe, steps = write_recipe(tmp_path / "toy.toml", RECIPE), "train.max_steps=2"
    train(recipe, data=toy_data, out=tmp_path / "quiet", overrides=steps)
    assert capfd.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, logger="clearhead"):
        train(recipe, data=toy_data, out=tmp_path / "shown", overrides=(text for text in [steps]), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "step 2/2  loss " in err
    assert "step 2: finished, max steps" in err
    told = caplog.messages
    assert f"run directory: {tmp_path / 'shown'}" in told
    assert told[-1] == "step 2: finished, max steps"
    assert any(line.startswith("step 2/2  loss ") for line in told)


def test_the_time_left_of_a_run_with_a_budget_is_the_budgets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("clearhead.verbs.progress.time.monotonic", lambda: now[0])
    writer, log = ProgressWriter(0, every_seconds=0.0), LogWriter(0, every_seconds=0.0)
    for after, event in (
        (0, Sized(0, 0, 600, 1200.0)),
        (1, steps(1)[0]),
        (30, Sized(40, 2300, 230, 1160.0, 0.5, 3.0)),
        (60, steps(2)[1]),
        (5000, steps(3)[2]),
    ):
        now[0] += after
        writer.write(event)
        log.write(event)
    assert capsys.readouterr().err.splitlines() == [
        "20:00 for the run: the first steps and an evaluation are measured",
        "step 1/?  loss 1.000  lr 1.00e-03  200 tokens/s  19:59 left",
        "19:20 left: 2,300 steps in all, 230 of warm-up; a step takes 0.5 s, an evaluation 3 s",
        "step 2/2300  loss 2.000  lr 1.00e-03  200 tokens/s  18:20 left",
        "step 3/2300  loss 3.000  lr 1.00e-03  200 tokens/s  0:00 left",
    ]


def sampled(step: int, made: str) -> Sampled:
    return Sampled(step, (SampledLine("finished", "wanted", made, 12.0),), {"chrf": 12.0}, 0.1)


def test_samples_are_told_with_their_lines_at_the_first_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ProgressWriter(9)
    writer.write(sampled(3, "first\nline"))
    writer.write(sampled(6, "second"))
    assert capsys.readouterr().err.splitlines() == [
        "samples at each evaluation, of these lines of the valid split:",
        "  1  finished -> wanted",
        "  1  chrF  12  first↵line",
        "  1  chrF  12  second",
    ]
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    writer = ProgressWriter(9)
    writer.write(sampled(3, "max steps"))
    head, *rest = capsys.readouterr().err.splitlines()
    assert "valid split" not in head
    assert rest == ["  1  finished -> wanted", "  1  chrF  12  max steps"], "texts of a corpus are not translated"


def test_samples_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    writer = LogWriter(9)
    with caplog.at_level(logging.INFO, logger="clearhead"):
        writer.write(sampled(3, "50 % and {braces}"))
    assert caplog.messages == ["  1  finished -> wanted", "  1  chrF  12  50 % and {braces}"]


def test_samples_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    writer = ProgressWriter(3)
    writer.write(sampled(3, "many words " * 30))
    writer.close()
    assert all(len(line) <= 60 for line in screen.getvalue().splitlines()[1:])
    assert screen.getvalue().rstrip().endswith("…")
