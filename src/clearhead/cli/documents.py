"""``clearhead translate --format``: a document in, the same document out, with its prose translated."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from clearhead.cli.lines import Chunk, written_to
from clearhead.cli.options import tell
from clearhead.errors import DataError, UsageError
from clearhead.files import MOST_OF_TEXT, decoded

FORMATS = ["txt", "md", "html", "srt"]
ALONE = ("n_best", "alternatives", "alignment", "confidence", "as_json", "prefix", "context")
"""Options that are about lines."""


def check(options: dict[str, Any], text: tuple[str, ...]) -> None:
    """Refuses what does not go with a document."""
    if options["n_best"] > 1 or any(options[name] for name in ALONE[1:]):
        names = "--n-best, --alternatives, --alignment, --confidence, --json, --prefix and --context"
        raise UsageError(f"--format: goes with none of {names}")
    if len(text) > 1 or (text and options["source"]):
        raise UsageError(f"--format: translates one file, {len(text) + bool(options['source'])} are named")


def open_for(run: Path, where: dict[str, Any]) -> Any:
    """Opens a translator that shows where words come from, if the run has one and PyTorch is there."""
    from clearhead.errors import ModelError
    from clearhead.verbs.quick import open_translator

    with contextlib.suppress(ModelError, UsageError):
        return open_translator(run, **where, looks_inside=True)
    return open_translator(run, **where)


def translate_file(
    translator: Any,
    text: tuple[str, ...],
    options: dict[str, Any],
    *,
    tell_of: Callable[[Chunk, int, list[Any]], None],
    at_end: Callable[[], None],
) -> None:
    """Translates one file, or stdin.

    Args:
        translator: an open one.
        text: the file that the command line names, if it does.
        options: of the command.
        tell_of: says what there is to say of a block.
        at_end: says what there is to say of all.

    Raises:
        click.exceptions.Exit: at the end, with code 3, if a block could not be translated.
        DataError: the file cannot be read, is not UTF-8, or the output cannot be written.
    """
    from clearhead.decode.hypotheses import SearchConfig
    from clearhead.tasks.translation.documents.translating import translate_document

    named = options["source"] or (Path(text[0]) if text and text != ("-",) else None)
    name = str(named) if named else "stdin"
    content = decoded(_content(named, name), name)
    config = SearchConfig(options["beam"], 1, options["length_penalty"], options["limit"])
    settings = {key: options[key] for key in ("split", "overlong", "require", "avoid", "glossary")}
    chunk = Chunk([], 1, f"{name} block")
    with written_to(options["output"]) if options["output"] else contextlib.nullcontext():
        made = translate_document(translator, content, options["format"], config, **settings, on_error=chunk.fail)
        click.echo(made.text, nl=False)
    if not made.blocks:
        _tell_of_none(name, content, options["format"])
    chunk.texts = made.blocks
    for number, translation in enumerate(made.translations):
        tell_of(chunk, number, [] if translation is None else [translation])
    at_end()
    if chunk.errors:
        raise click.exceptions.Exit(DataError.exit_code)


def _tell_of_none(name: str, content: str, kind: str) -> None:
    """Says on stderr that nothing of a document was translated, though it has letters."""
    from clearhead.documents.blocks import has_words
    from clearhead.documents.subtitles import CUE

    if not has_words(content):
        return
    if kind == "srt" and CUE.search(content) is None:
        tell(f"clearhead: {name}: no subtitles were found, and all of it stays as it is", err=True)
    else:
        tell(f"clearhead: {name}: has no text to translate as {kind}, and all of it stays as it is", err=True)


def _content(path: Path | None, name: str) -> bytes:
    """Reads a file, plain or gzip, or stdin."""
    from clearhead.data.corpus import open_text

    with open_text(path) if path else contextlib.nullcontext(sys.stdin.buffer) as stream:
        content = stream.read(MOST_OF_TEXT + 1)
    if len(content) > MOST_OF_TEXT:
        raise DataError(f"{name} has more than {MOST_OF_TEXT:,} bytes")
    return content
