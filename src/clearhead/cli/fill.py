"""``clearhead fill``: what a masked language model finds at the gaps of texts."""

from dataclasses import asdict
from pathlib import Path

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, JSON, RUN, print_json, ranged, texts_of
from clearhead.ranges import Count

LINES = 64  # of stdin that are read before they are filled


@click.command("fill")
@RUN
@click.argument("text", required=False)
@click.option("--top-k", type=ranged(Count), default=5, show_default=True, help="Candidates for a mask.")
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str | None, top_k: int, as_json: bool, device: str, checkpoint: str) -> None:
    """Say what may stand at each [MASK] of TEXT, or of stdin's lines, with the masked language model in directory RUN.

    A candidate is a line: its probability, the piece, the text with it. Where a text has several masks, those of the
    first come first, and the other masks stay in the text. A mask is one piece, and a space in front belongs to it.

    \b
    clearhead fill RUN "The capital of France is [MASK]."
    clearhead fill RUN --top-k 3 --json < lines.txt
    """
    from clearhead.tasks.masked.model import MaskedModel

    model = MaskedModel.load(run, checkpoint=checkpoint, device=device)
    for texts in texts_of(text, LINES, doing="filling"):
        for filled in model.fill(texts, top_k=top_k):
            if as_json:
                print_json(asdict(filled))
                continue
            for candidate in (candidate for mask in filled.masks for candidate in mask):
                shown = candidate.text.replace("\r", r"\r").replace("\n", r"\n")
                click.echo(f"{candidate.probability:.4f}\t{candidate.piece}\t{shown}")
