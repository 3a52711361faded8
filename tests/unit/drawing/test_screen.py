"""Control characters of a text never reach a terminal; colours of our own do, and pipes get every byte."""

import io
import sys
from pathlib import Path

import click
import pytest
from rich.cells import cell_len
from rich.text import Text

from clearhead.cli.main import cli
from clearhead.drawing import screen
from clearhead.drawing.screen import TerminalStream, console, folded, forgive, guard_terminal, visible
from tests.terminal import Terminal

pytestmark = pytest.mark.unchecked  # a screen of these tests is no TextIO
HOSTILE = "a\x1b]0;title\x07\x1b[2Jb\x9b31m\x7f\r\b"
SHOWN = "a␛]0;title␇␛[2Jb\ufffd31m␡␍␈"


def two_terminals(monkeypatch: pytest.MonkeyPatch) -> tuple[Terminal, Terminal]:
    """Puts terminals in place of stdout and stderr; called in the test, since pytest sets its own before each phase."""
    screens = Terminal(), Terminal()
    for name, terminal in zip(("stdout", "stderr"), screens, strict=True):
        monkeypatch.setattr(sys, name, terminal)
    return screens


def test_every_control_character_becomes_a_sign_of_one_column() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("a\tb\n我 é 🙂 \u200f") == "a\tb\n我 é 🙂 \u200f"
    controls = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
    assert len(visible(controls)) == len(controls)
    assert {char for char in visible(controls) if char in controls} == {"\t", "\n"}


def test_what_is_written_to_a_terminal_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminals = two_terminals(monkeypatch)
    guard_terminal()
    guard_terminal()
    assert isinstance(sys.stdout, TerminalStream)
    click.echo(HOSTILE)
    click.echo(HOSTILE, err=True)
    sys.stdout.write(f"{HOSTILE}\n")
    sys.stderr.writelines([HOSTILE, "\n"])
    assert [screen.getvalue() for screen in terminals] == [f"{SHOWN}\n" * 2] * 2
    assert sys.stdout.isatty()


@pytest.mark.parametrize("stderr", [False, True])
def test_a_console_colours_and_its_texts_do_not(stderr: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TERM", "xterm"), ("COLORTERM", ""), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminals = two_terminals(monkeypatch)
    guard_terminal()
    console(stderr=stderr, force_terminal=True).print(Text(HOSTILE, "red"), Text(HOSTILE))
    said = terminals[stderr].getvalue()
    assert said.count("\x1b[31m") == said.count("\x1b[0m") == 1
    text = said.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert "␛[2J" in text
    assert text == visible(text)


def test_a_name_in_an_error_is_shown_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "da\x1b[31mta"
    folder.mkdir()
    for name in ("train.zh", "train.en", "valid.zh", "valid.en"):
        (folder / name).write_bytes(b"\xff\n")
    terminals = two_terminals(monkeypatch)
    with pytest.raises(SystemExit):
        cli_main("train", "demo", "--data", folder, "--dry-run")
    said = terminals[1].getvalue()
    assert "da␛[31mta/" in said
    assert "\x1b" not in said


def cli_main(*words: object) -> None:
    from clearhead.cli.main import main

    main([str(word) for word in words])


def test_a_pipe_gets_every_byte(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command("hostile")
    def hostile() -> None:
        click.echo(HOSTILE)

    with click.Context(cli, **cli.context_settings), pytest.raises(SystemExit):
        hostile.main([], parent=click.get_current_context())
    assert capsys.readouterr().out == HOSTILE + "\n"


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "? d_k, ??"), ("utf-8", "√ d_k, 注意")])
def test_what_an_encoding_lacks_is_a_question_mark(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    forgive()
    sys.stdout.write("√ d_k, 注意")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == shown


def test_a_line_is_folded_to_the_screen_and_a_pipe_gets_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    english, chinese = "name  " + "word " * 20, "名称  " + "很长的一行，" * 10
    monkeypatch.setenv("COLUMNS", "40")
    assert folded(english, 6) == english
    monkeypatch.setattr(screen, "columns", lambda: 40)
    lines = folded(english, 6).split("\n")
    assert [line.split()[-1] for line in lines] == ["word"] * len(lines)
    assert [line[:6] for line in lines] == ["name  ", *["      "] * (len(lines) - 1)]
    for line in [*lines, *folded(chinese).split("\n")]:
        assert 30 < cell_len(line) <= 40 or line in (lines[-1], folded(chinese).split("\n")[-1])
