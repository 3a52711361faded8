"""``clearhead embed``: texts in, vectors out, to a file of numpy's or to stdout."""

from pathlib import Path
from typing import Any

import click

from clearhead.cli.lines import answering, input_option
from clearhead.cli.options import CHECKPOINT, DEVICE, ENGINE, JSON, RUN, WEIGHTS, print_json, tell
from clearhead.errors import DataError
from clearhead.files import replacing

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
@WEIGHTS
@ENGINE
@input_option
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str | None, out: Path | None, **options: Any) -> None:
    """Give TEXT, or each of stdin's lines, a vector of the states that the model in directory RUN has of it.

    It is their mean; of a model from sentence-transformers what its folder says: mean, [CLS] or maximum, of length 1.

    --out writes an array [texts, features] of float32 for numpy.load; without it a text is a line of numbers between
    tabs, or with --json its text and its vector. A text without a vector gives an empty line, NaN in the array, and
    exit code 3 at the end.

    \b
    clearhead embed RUN "a sentence"
    clearhead embed RUN --out vectors.npy < lines.txt
    """
    import numpy as np

    from clearhead.verbs.quick import open_masked_model

    model = open_masked_model(run, **{key: options[key] for key in ("checkpoint", "device", "weights", "engine")})
    done, cut, kept = 0, [0, 0], []

    def count(number: int, pieces: int) -> None:
        cut[:] = cut[0] + 1, cut[1] + pieces

    asked = [] if text is None else [text]
    with answering(asked, size=LINES, doing="embedding", source=options["source"]) as chunks:
        for chunk in chunks:
            vectors = model.embed(chunk.texts, overlong=options["overlong"], on_cut=count, on_error=chunk.fail)
            done += len(chunk.texts)
            if out:
                kept.append(vectors)
                continue
            for _, line, vector, error in chunk.with_errors(vectors.tolist()):
                _print(line, vector, error, options["as_json"])
        if cut[0]:
            tell(f"{cut[0]:,} of {done:,} texts were too long: their last {cut[1]:,} pieces were left out", err=True)
        if out:
            _save(out, np.concatenate(kept or [np.zeros((0, model.d_model), np.float32)]))


def _print(line: str, vector: list[float], error: str, as_json: bool) -> None:
    if as_json:
        print_json({"text": line, "error": error} if error else {"text": line, "vector": vector})
    else:
        click.echo("" if error else "\t".join(f"{value:.7g}" for value in vector))


def _save(path: Path, vectors: Any) -> None:
    import numpy as np

    try:
        with replacing(path) as file:
            np.save(file, vectors)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    click.echo(str(path))
