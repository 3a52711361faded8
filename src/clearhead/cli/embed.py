"""``clearhead embed``: texts in, vectors out, to a file of numpy's or to stdout."""

from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, JSON, RUN, print_json, texts_of

LINES = 1024  # of stdin that are read before they are embedded


@click.command("embed")
@RUN
@click.argument("text", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="File for the vectors, .npy.  [default: to stdout]")
@click.option(
    "--overlong",
    type=click.Choice(["error", "truncate"]),
    default="error",
    show_default=True,
    help="A text above the model's length: an error, or without its last pieces.",
)
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str | None, out: Path | None, **options: Any) -> None:
    """Give TEXT, or each of stdin's lines, a vector of the states that the model in directory RUN has of it.

    It is their mean; of a model from sentence-transformers what its folder says: mean, [CLS] or maximum, of length 1.

    --out writes an array [texts, features] of float32 for numpy.load; without it a text is a line of numbers between
    tabs, or with --json its text and its vector.

    \b
    clearhead embed RUN "a sentence"
    clearhead embed RUN --out vectors.npy < lines.txt
    """
    import numpy as np

    from clearhead.errors import DataError
    from clearhead.tasks.masked.model import MaskedModel

    model = MaskedModel.load(run, checkpoint=options["checkpoint"], device=options["device"])
    done, cut, kept = 0, [0, 0], []

    def count(number: int, pieces: int) -> None:
        cut[:] = cut[0] + 1, cut[1] + pieces

    for texts in texts_of(text, LINES, doing="embedding"):
        vectors = model.embed(texts, overlong=options["overlong"], on_cut=count)
        done += len(texts)
        if out:
            kept.append(vectors)
            continue
        for line, vector in zip(texts, vectors.tolist(), strict=True):
            if options["as_json"]:
                print_json({"text": line, "vector": vector})
            else:
                click.echo("\t".join(f"{value:.7g}" for value in vector))
    if cut[0]:
        click.echo(f"{cut[0]:,} of {done:,} texts were too long: their last {cut[1]:,} pieces were left out", err=True)
    if out:
        try:
            with out.open("wb") as file:
                np.save(file, np.concatenate(kept or [np.zeros((0, model.recipe.model.d_model), np.float32)]))
        except OSError as error:
            raise DataError(f"{str(out)!r} cannot be written: {error.strerror}") from error
        click.echo(str(out))
