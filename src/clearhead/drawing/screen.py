"""What goes to a terminal: control characters of a text are shown, never obeyed; what is piped stays as it is."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # all but the tab and the line feed


def visible(text: str) -> str:
    """Returns a text with the characters that a terminal would obey as signs of the same width: ESC is ␛."""
    return _CONTROL.sub(lambda match: _sign(ord(match[0])), text)


def _sign(code: int) -> str:
    if code == 0x7F:
        return "\u2421"
    return chr(0x2400 + code) if code < 0x20 else "\ufffd"  # there are no signs for the second set of controls


class TerminalStream:
    """A text stream to a terminal that shows control characters; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes a text as ``visible`` returns it."""
        self.stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guard_terminal() -> None:
    """Makes stdout and stderr show control characters, where they are terminals.

    Texts of files, runs and models go there by many ways: results, file names in errors, warnings of libraries.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty() and not isinstance(stream, TerminalStream):
            setattr(sys, name, TerminalStream(stream))


def discard(stream: Any) -> None:
    """Drops what is printed to ``stream``, a standard stream that cannot be written to, from now on."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def forgive() -> None:
    """Lets stdout and stderr show ``?`` for what their encoding lacks: for what is looked at, not for texts to use."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not (stream.encoding or "").lower().startswith("utf"):
            stream.reconfigure(errors="replace")


def columns() -> int | None:
    """Returns how many columns a line may take on the terminal; None where lines are piped, which stay whole."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def folded(line: str, under: int = 0) -> str:
    """Returns a line as several that fit on the screen, indented by ``under`` from the second on; piped, it stays one.

    What is wider than a narrow terminal leaves is not folded.
    """
    width = columns()
    if width is None or width < under + 20 or 2 * len(line) <= width:
        return line
    from rich.console import Console

    from clearhead.drawing.wording import Words

    rows = Words(line[under:]).wrap(Console(width=width), width - under)
    return line[:under] + f"\n{' ' * under}".join(row.plain.rstrip() for row in rows)


def console(*, stderr: bool = False, **settings: Any) -> "Console":
    """Returns a console of rich, whose own control sequences reach the terminal, and those in its texts do not."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    forgive()
    guarded = sys.stderr if stderr else sys.stdout
    stream = guarded.stream if isinstance(guarded, TerminalStream) else guarded

    class Guarded(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    if not stream.isatty():
        return Console(file=stream, highlight=False, **settings)
    return Guarded(file=stream, highlight=False, **settings)
