"""``clearhead compare``: several runs on one split, side by side."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clearhead.cli.options import BEAM, DEVICE, JSON, TOKENIZE, print_json
from clearhead.drawing.screen import console
from clearhead.messages import localized

if TYPE_CHECKING:
    from rich.table import Table

    from clearhead.evaluate.paired import Difference
    from clearhead.verbs.compare import Comparison

PLAIN_WIDTH = 1000  # of what is not a terminal, where lines do not break


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), default=".", show_default=True, help="Folder of text files.")
@click.option("--split", default="test", show_default=True, help="train, valid, test, or the stem of other files.")
@TOKENIZE
@BEAM
@JSON
@DEVICE
def command(runs: tuple[Path, ...], data: Path, split: str, as_json: bool, **options: Any) -> None:
    """Score the runs in directories RUN... on a split and show them side by side, with sizes and speeds.

    Translators by BLEU, chrF, BLEU by length and F1 of words by their frequency in the training text; classifiers by
    loss, accuracy, macro-F1 and Matthews; both with the interval of the difference to the first run by paired
    bootstrap. Language models by bits a byte, nats a character, word perplexity and loss by position; BERTs by loss and
    accuracy of masked pieces and accuracy of pairs.

    \b
    clearhead compare runs/transformer runs/rnn-attention --data DIR --split test
    clearhead compare runs/gpt runs/rnn-lm runs/ngram --data FILE --split valid
    """
    from clearhead.verbs.compare import compare_runs

    comparison = compare_runs(runs, data, split, **options)
    if as_json:
        print_json(asdict(comparison))
        return
    screen = console(markup=False)
    if not screen.is_terminal:
        screen = console(markup=False, width=PLAIN_WIDTH)
    screen.print(render(comparison, plain=not screen.is_terminal))
    screen.print(localized(comparison.note))


def render(comparison: "Comparison", *, plain: bool) -> "Table":
    """A table of a column for each run; ``plain`` has no lines."""
    from rich.box import HEAVY_HEAD
    from rich.table import Table
    from rich.text import Text

    runs = comparison.runs
    table = Table(comparison.split, box=None if plain else HEAVY_HEAD, pad_edge=not plain)
    for run in runs:
        table.add_column(Text(run.run), justify="right", overflow="fold")
    table.add_row(localized("model"), *(Text(localized(run.model)) for run in runs))
    for name in runs[0].scores:
        table.add_row(localized(name), *(_shown(run.scores.get(name), 3) for run in runs))
    for name in dict.fromkeys(name for run in runs for name in run.against_first):
        above = localized("{name} above the first run").format(name=name)
        table.add_row(above, *(_difference(run.against_first.get(name)) for run in runs))
    table.add_row(localized("parameters"), *(f"{run.parameters:,}" for run in runs))
    table.add_row(localized("training tokens/s"), *(_shown(run.train_tokens_per_second) for run in runs))
    table.add_row(localized("decoding tokens/s"), *(_shown(run.decode_tokens_per_second) for run in runs))
    return table


def _difference(found: "Difference | None") -> str:
    """Returns a difference, its interval of 95 %, and how probable one as large is by chance."""
    if found is None:
        return "-"
    low, high = found.interval
    return f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f}), p {found.p:.3f}"


def _shown(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
