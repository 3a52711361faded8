"""What verbs are asked, line by line: where the lines come from, where the answers go, and what cannot be answered."""

import codecs
import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from clearhead.cli.options import tell
from clearhead.errors import DataError, UsageError
from clearhead.files import bounded_lines, not_utf8, replacing
from clearhead.verbs.progress import LineProgress

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


def input_and_output(command: F) -> F:
    """Adds the options of files to read from and to write to."""
    words = "File for the answers, replaced when all of them are there."
    return input_option(click.option("--output", type=click.Path(path_type=Path), help=words)(command))


def input_option(command: F) -> F:
    """Adds the option of a file to read from."""
    words = "File to read in place of stdin, plain or .gz; stderr says how far it is."
    return click.option("--input", "source", type=click.Path(path_type=Path), help=words)(command)


@dataclass
class Chunk:
    """Lines that are answered together."""

    texts: list[str]
    first: int
    """Number of the first line, from 1."""
    where: str
    """What messages call a line: ``stdin line``."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Lines, counted from 0 in this chunk, whose bytes are not text, and why."""
    errors: dict[int, str] = field(default_factory=dict)
    """Lines that could not be answered, and why."""

    def fail(self, number: int, error: Exception) -> None:
        """Says on stderr that a line cannot be answered: an ``OnError``."""
        self.errors[number] = self.unreadable.get(number, str(error))
        self.say(number, self.errors[number])

    def say(self, number: int, message: str) -> None:
        """Says something about a line on stderr."""
        tell(f"clearhead: {self.where} {self.first + number}: {' '.join(message.split())}", err=True)

    def with_errors(self, answers: Iterable[R]) -> Iterator[tuple[int, str, R, str]]:
        """Yields for each line its number in the chunk, its text, its answer, and why there is none."""
        for number, (text, answer) in enumerate(zip(self.texts, answers, strict=True)):
            yield number, text.encode("utf-8", "replace").decode(), answer, self.errors.get(number, "")


@contextlib.contextmanager
def answering(
    texts: Sequence[str],
    *,
    size: int,
    doing: str,
    source: Path | None = None,
    output: Path | None = None,
) -> Iterator[Iterator[Chunk]]:
    """Opens the lines that are asked; what is printed in its ``with`` block goes to ``output``.

    Args:
        texts: what the command line asks; without any, and with ``-`` alone, the lines are those of ``source``.
        size: lines that are read and answered together; where a person types, each line is answered at once.
        doing: what a person who types is told is done with the lines.
        source: file of the lines; None is stdin.
        output: file for the answers; None is stdout.

    Raises:
        click.exceptions.Exit: at the end, with code 3, if a line could not be answered.
        UsageError: texts and ``source`` are both given, or ``output`` is ``source``.
        DataError: a file cannot be read or written, or is no text.
    """
    asked = [] if list(texts) == ["-"] else list(texts)
    if source is not None and texts:
        raise UsageError(f"--input {str(source)!r}: is for lines of a file, and there is a TEXT; leave one of them out")
    if source is not None and output is not None and source.resolve() == output.resolve():
        raise UsageError(f"--output {str(output)!r}: is the file of --input; name another one")
    failed: list[int] = []

    def watched() -> Iterator[Chunk]:
        chunks = _of_arguments(asked) if asked else _of_file(source, size) if source else _of_stdin(size, doing)
        for chunk in chunks:
            yield chunk
            failed.extend(chunk.errors)
            sys.stdout.flush()

    with written_to(output) if output else contextlib.nullcontext():
        yield watched()
    if failed:
        raise click.exceptions.Exit(DataError.exit_code)


def warn_of_file_name(text: str, option: str = "--input") -> None:
    """Warns that a text is the name of a file, of which nothing is read."""
    with contextlib.suppress(OSError, ValueError):
        if Path(text).is_file():
            line = f"{text!r} is a file, and its name is taken for the text; to read the file give {option} {text}"
            tell(f"clearhead: {line}", err=True)


def _of_arguments(texts: list[str]) -> Iterator[Chunk]:
    for text in texts:
        warn_of_file_name(text)
    yield Chunk(texts, 1, "text")


def _of_stdin(size: int, doing: str) -> Iterator[Chunk]:
    if sys.stdin.isatty():
        tell(f"{doing} what you type, line by line; Ctrl-D ends", err=True)
        size = 1
    yield from _chunks(_checked(sys.stdin.buffer, "stdin"), size, "stdin line")


def _of_file(path: Path, size: int) -> Iterator[Chunk]:
    from clearhead.data.corpus import open_text

    with open_text(path) as stream:
        total = sum(1 for _ in bounded_lines(stream, str(path))) if path.is_file() else 0
    progress = LineProgress(total)
    try:
        with open_text(path) as stream:
            for chunk in _chunks(stream, size, f"{path} line"):
                yield chunk
                progress.advance(len(chunk.texts))
    finally:
        progress.close()


def _checked(stream: Any, name: str) -> Any:
    """Returns a stream of bytes that is text as a whole; raises DataError if it is, for example, gzip."""
    readable = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
    if problem := not_utf8(readable.peek()):
        raise DataError(f"{name} {problem}")
    return readable


def _chunks(stream: Any, size: int, where: str) -> Iterator[Chunk]:
    """Yields lines without their ends; a byte order mark at the head is no part of the first one."""
    lines, first = bounded_lines(stream, where.removesuffix(" line")), 1
    while raw := list(islice(lines, size)):
        if first == 1:
            raw[0] = raw[0].removeprefix(codecs.BOM_UTF8)
        chunk = Chunk([], first, where)
        for number, line in enumerate(raw):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                chunk.unreadable[number] = f"not UTF-8 (byte {error.start + 1} of the line)"
                text = line.decode("utf-8", "surrogateescape")
            chunk.texts.append(text.removesuffix("\n").removesuffix("\r"))
        yield chunk
        first += len(raw)


@contextlib.contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Sends what is printed to a file beside ``path``, which takes its place at the end; an error leaves ``path``."""
    try:
        with (
            replacing(path) as stream,
            contextlib.redirect_stdout(text := io.TextIOWrapper(stream, "utf-8", newline="\n")),
        ):
            yield
            text.detach()
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error
