"""``clearhead shortlist``: learns which pieces may translate which, so that a CPU translates faster."""

from pathlib import Path

import click

from clearhead.cli.options import JSON, RUN, print_json, ranged, tell
from clearhead.ranges import Count, CountOrZero


@click.command("shortlist")
@RUN
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the training text.")
@click.option("--best", type=ranged(Count), default=50, show_default=True, help="Target pieces of each source piece.")
@click.option(
    "--frequent",
    type=ranged(CountOrZero),
    default=100,
    show_default=True,
    help="Most frequent target pieces, which may always come.",
)
@JSON
def command(run: Path, data: Path, best: int, frequent: int, *, as_json: bool) -> None:
    """Learn from the training text which target pieces may translate which source pieces, for translate --shortlist.

    The lists are kept in directory RUN, in the place of older ones, and go with export --to file.

    \b
    clearhead shortlist RUN --data DIR
    clearhead translate RUN --shortlist < input.txt > output.txt
    """
    from clearhead.tasks.translation.search.lexicon import learn_shortlist
    from clearhead.tasks.translation.search.shortlist import FILE

    learned = learn_shortlist(run, data, best=best, frequent=frequent)
    if as_json:
        sizes = {"pairs": learned.pairs, "pieces": learned.size, "covered": learned.covered}
        print_json({"run": str(run), "file": str(run / FILE), **sizes})
        return
    tell(
        f"{run / FILE}: {learned.size:.0f} of {learned.shortlist.vocab:,} pieces may translate a sentence, in the mean "
        f"of {learned.pairs:,} pairs; they have {100 * learned.covered:.2f} % of the target pieces"
    )
