"""``clearhead fill``: what a masked language model finds at the gaps of texts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clearhead.cli.lines import answering, input_and_output
from clearhead.cli.options import CHECKPOINT, DEVICE, ENGINE, JSON, RUN, WEIGHTS, print_json, ranged
from clearhead.ranges import Count

LINES = 64  # of stdin that are read before they are filled


@click.command("fill")
@RUN
@click.argument("text", required=False)
@click.option("--top-k", type=ranged(Count), default=5, show_default=True, help="Candidates for a mask.")
@WEIGHTS
@ENGINE
@input_and_output
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str | None, top_k: int, **options: Any) -> None:
    """Say what may stand at each [MASK] of TEXT, or of stdin's lines, with the masked language model in directory RUN.

    A candidate is a line: its probability, the piece, the text with it. Where a text has several masks, those of the
    first come first, and the other masks stay in the text. A mask is one piece, and a space in front belongs to it.
    A text that cannot be filled gives an empty line, and exit code 3 at the end.

    \b
    clearhead fill RUN "The capital of France is [MASK]."
    clearhead fill RUN --top-k 3 --json < lines.txt
    """
    from clearhead.verbs.quick import open_masked_model

    model = open_masked_model(run, **{key: options[key] for key in ("checkpoint", "device", "weights", "engine")})
    where = {"source": options["source"], "output": options["output"]}
    with answering([] if text is None else [text], size=LINES, doing="filling", **where) as chunks:
        for chunk in chunks:
            answers = model.fill(chunk.texts, top_k=top_k, on_error=chunk.fail)
            for _, line, filled, error in chunk.with_errors(answers):
                _print({"prompt": line, "error": error} if error else asdict(filled), filled, options["as_json"])


def _print(tree: dict[str, Any], filled: Any, as_json: bool) -> None:
    """Prints the candidates of a text; an empty line where there are none."""
    if as_json:
        print_json(tree)
        return
    candidates = [candidate for mask in filled.masks for candidate in mask]
    for candidate in candidates:
        shown = candidate.text.replace("\r", r"\r").replace("\n", r"\n")
        click.echo(f"{candidate.probability:.4f}\t{candidate.piece}\t{shown}")
    if not candidates:
        click.echo()
