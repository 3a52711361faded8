"""The command itself: help, nearest verb, one line for every error, exit codes, ``--debug``, pipes."""

import os
import subprocess
import sys

import pytest

from clearhead import __version__
from clearhead.cli import doctor, main
from clearhead.errors import ClearheadError, DataError, ModelError, UsageError
from tests.toy import clearhead, environment


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["-h"], []):
        said = clearhead(capsys, *words)
        text = said.out + said.err
        assert text.startswith("Usage: clearhead"), words
        assert [verb for verb in main.VERBS if f"\n  {verb} " not in text] == []
    assert clearhead(capsys, "--version").out == f"clearhead {__version__}\n"


@pytest.mark.parametrize("verb", list(main.VERBS))
def test_every_verb_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, verb, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: clearhead {verb}")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["no verb 'trian'; did you mean 'train'?", "(see clearhead --help)"]),
        (["xyz"], ["no verb 'xyz'; known: average, "]),
        (["translate"], ["Missing argument 'RUN'", "(see clearhead translate --help)"]),
        (["train", "demo", "--resme"], ["--resme", "--resume"]),
        (["doctor", "extra"], ["unexpected extra argument"]),
    ],
)
def test_usage(words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, *words)
    assert (said.code, said.err.count("\n"), said.out) == (2, 1, "")
    assert all(part in said.err for part in parts), said


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (UsageError("a"), 2, "clearhead: a\n"),
        (DataError("b\n  c"), 3, "clearhead: b c\n"),
        (ModelError("d"), 4, "clearhead: d\n"),
        (ClearheadError("e"), 1, "clearhead: e\n"),
        (ZeroDivisionError("f"), 1, "clearhead: ZeroDivisionError: f (unexpected; --debug shows where)\n"),
        (KeyboardInterrupt(), 130, "clearhead: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_debug_raises_it(
    error: BaseException, code: int, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(doctor.command, "callback", lambda as_json: fail())
    said = clearhead(capsys, "doctor")
    # click breaks the terminal's line, where ^C stands, before an interruption
    assert (said.code, said.out, said.err.lstrip("\n")) == (code, "", expected)
    if isinstance(error, Exception):
        with pytest.raises(type(error)):
            main.main(["doctor", "--debug"])


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "translate", "nowhere", "x")
    assert said == (4, "", "clearhead: run 'nowhere': no such directory\n")
    command = [sys.executable, "-m", "clearhead", "translate", "nowhere", "--debug", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "ModelError: run 'nowhere'" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "clearhead", "presets"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment())
    os.close(writer)
    assert done.stderr == b""
