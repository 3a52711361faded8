"""``clearhead filter``: a parallel corpus without bad pairs, or what would be dropped of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, FROM, JSON, RUN, TO, print_json, ranged, said_every, tell
from clearhead.ranges import ShareAboveZero


@click.command("filter")
@RUN
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the corpus.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the lines that stay; without it nothing is written."
)
@click.option("--split", default="train", show_default=True, help="Stem of the files.")
@click.option(
    "--keep", type=ranged(ShareAboveZero), default=1.0, show_default=True, help="Share that stays, the best by score."
)
@click.option(
    "--back", type=click.Path(path_type=Path), help="A run of the other direction: the score is then of both."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of data, such as data.max_ratio=3."
)
@TO
@FROM
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, data: Path, out: Path | None, *, as_json: bool, **options: Any) -> None:
    """Drop bad pairs of a corpus by the recipe, the vocabulary and the model of the run in directory RUN.

    Each line that is dropped is counted by reason. With --keep pairs are scored by the mean log-probability that RUN
    gives a piece of the target, with --back by that of both directions and their difference.

    \b
    clearhead filter RUN --data DIR --set data.filters.script=0.5
    clearhead filter RUN --data DIR --keep 0.9 --out CLEAN
    clearhead filter zh-en --back en-zh --data DIR --keep 0.9 --out CLEAN
    """
    from clearhead.verbs.corpora.filter import filter_corpus

    options["source"] = options.pop("source_language")
    filtered = filter_corpus(run, data, out, progress=said_every(10.0), **options)
    if as_json:
        print_json({"folder": None if out is None else str(out), "least": filtered.least, **asdict(filtered.report)})
        return
    for line in filtered.lines():
        tell(line)
