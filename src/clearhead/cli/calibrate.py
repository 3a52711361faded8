"""``clearhead calibrate``: learns how good the translations of a run are, for ``translate --confidence``."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import BEAM, CHECKPOINT, DEVICE, JSON, LENGTH_PENALTY, RUN, print_json, tell


@click.command("calibrate")
@RUN
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of text files.")
@click.option(
    "--split", default="valid", show_default=True, help="Lines that the run was not trained on; or the stem of others."
)
@BEAM
@LENGTH_PENALTY
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, data: Path, split: str, *, as_json: bool, **options: Any) -> None:
    """Learn from lines with references how good translations are by their log-probabilities.

    For translate --confidence. What is learned is kept in directory RUN, in the place of an older one, and goes with
    export --to file. It is of one checkpoint, and of one search.

    \b
    clearhead calibrate RUN --data DIR
    clearhead translate RUN --confidence < input.txt
    """
    from clearhead.tasks.translation.trust.calibrate import calibrate
    from clearhead.tasks.translation.trust.confidence import FILE

    made = calibrate(run, data, split, **options)
    if as_json:
        print_json({"run": str(run), "file": str(run / FILE), **asdict(made)})
        return
    tell(f"{run / FILE}: from {made.lines:,} lines of {made.split}, step {made.step:,}, beam {made.beam}")
    tell(
        f"correlation with chrF2 by line, each line predicted without itself: Pearson {made.pearson:.3f}, "
        f"Spearman {made.spearman:.3f} (of the mean log-probability alone: {made.pearson_of_mean:.3f})"
    )
    tell(f"ten groups of lines by their confidence are off by {made.off:.1f} points of chrF2 in the mean")
