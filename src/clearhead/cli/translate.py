"""``clearhead translate``: lines in, lines out, in order."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import BEAM, CHECKPOINT, DEVICE, JSON, LENGTH_PENALTY, RUN, print_json, stdin_lines
from clearhead.errors import UsageError


@click.command("translate")
@RUN
@click.argument("text", nargs=-1)
@BEAM
@LENGTH_PENALTY
@click.option("--n-best", type=click.IntRange(1), default=1, show_default=True, help="Translations a line.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=0,
    help="Most pieces of a translation.  [default: by the pieces of the line, as the training text has it]",
)
@click.option("--prefix", default="", help="Every translation begins with this text.")
@click.option("--require", multiple=True, metavar="PHRASE", help="Every translation contains it; may be repeated.")
@click.option("--avoid", multiple=True, metavar="PHRASE", help="No translation contains it; may be repeated.")
@click.option("--alternatives", is_flag=True, help="Show translations that differ in the first piece after the prefix.")
@click.option(
    "--overlong",
    type=click.Choice(["split", "truncate", "error"]),
    default="split",
    show_default=True,
    help="A line above the model's length: split at sentence ends, cut (and say so), or refuse.",
)
@click.option("--alignment", is_flag=True, help="With --json: the source piece each target piece attended to most.")
@click.option(
    "--buffer",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Lines read from stdin before translating.",
)
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: tuple[str, ...], **options: Any) -> None:
    """Translate TEXT, or stdin line by line, with the run in directory RUN.

    One line out for every line in, always and in order; an empty line stays empty. With --n-best or --alternatives
    each line gives several, rank and score before each; no two read the same. Whole translations go before those that
    the length limit cut off, which are told on stderr.

    \b
    clearhead translate RUN "我吃了一个苹果。"
    clearhead translate RUN < input.txt > output.txt
    clearhead translate RUN --n-best 5 --json "我吃了一个苹果。"
    """
    if options["n_best"] > options["beam"]:
        raise UsageError(f"--n-best {options['n_best']}: must be at most --beam {options['beam']}")
    if options["alternatives"] and (options["require"] or options["avoid"] or options["limit"]):
        raise UsageError("--alternatives: goes with none of --require, --avoid and --limit")
    from clearhead.tasks.translation.translator import Translator

    translator = Translator.load(run, checkpoint=options["checkpoint"], device=options["device"])
    for lines in _chunks(text, options["buffer"]):
        _translate(translator, lines, options)
        sys.stdout.flush()


def _translate(translator: Any, lines: list[str], options: dict[str, Any]) -> None:
    from clearhead.decode.search import SearchConfig

    beam, penalty, prefix = options["beam"], options["length_penalty"], options["prefix"]
    if options["alternatives"]:
        settings = {"prefix": prefix, "beam": beam, "length_penalty": penalty}
        translations = [translator.alternatives(line, **settings) for line in lines]
    else:
        config = SearchConfig(beam, options["n_best"], penalty, options["limit"])
        settings = {key: options[key] for key in ("prefix", "overlong", "require", "avoid")}
        translations = translator.n_best(lines, config, **settings)
        if options["alignment"]:
            translations = [[translator.aligned(translation) for translation in ranked] for ranked in translations]
    several = options["n_best"] > 1 or options["alternatives"]
    for line, ranked in zip(lines, translations, strict=True):
        for translation in ranked:
            _warn(line, translation)
        if options["as_json"]:
            trees = [
                {k: v for k, v in asdict(translation).items() if k not in ("source_ids", "target_ids")}
                for translation in ranked
            ]
            print_json({"source": line, "translations": trees})
        elif several and ranked:
            for rank, translation in enumerate(ranked, 1):
                click.echo(f"{rank}\t{translation.score:.4f}\t{translation.text}")
        else:
            click.echo(ranked[0].text if ranked else "")


def _warn(line: str, translation: Any) -> None:
    """Says on stderr what a reader of the plain output could not see."""
    if not translation.complete:
        click.echo(f"clearhead: {line[:40]!r}: the translation reached the length limit without an end", err=True)
    if translation.cut_better:
        click.echo(f"clearhead: {line[:40]!r}: the length limit cut off a better ranked one; see --limit", err=True)
    if translation.unmet:
        phrases = ", ".join(map(repr, translation.unmet))
        click.echo(f"clearhead: {line[:40]!r}: the translation does not contain {phrases}", err=True)
    if translation.dropped:
        click.echo(f"clearhead: {line[:40]!r}: cut, the last {translation.dropped} pieces were left out", err=True)


def _chunks(text: tuple[str, ...], size: int) -> Iterator[list[str]]:
    """Yields lists of lines: TEXT's own, or stdin's (each line as it comes where a person types)."""
    if text and text != ("-",):
        yield [line for argument in text for line in argument.split("\n")]
    else:
        yield from stdin_lines(size, doing="translating")
