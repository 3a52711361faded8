"""``clearhead replay``: the step that ended a run, computed again."""

from dataclasses import asdict
from pathlib import Path

import click

from clearhead.cli.options import JSON, RUN, print_json, tell


@click.command("replay")
@RUN
@JSON
def command(run: Path, as_json: bool) -> None:
    """Say where the first value that is not finite arises in the step that ended RUN.

    A run that skips train.max_skipped_steps steps in a row keeps the last one's batch, weights and random numbers.
    """
    from clearhead.verbs.replay import replay

    finding = replay(run)
    if as_json:
        print_json(
            {**asdict(finding), "recorded": list(map(str, finding.recorded)), "losses": list(map(str, finding.losses))}
        )
        return
    for line in finding.lines():
        tell(line)
