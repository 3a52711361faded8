"""Writes the model of a run as a folder for another library: ``clearhead export``."""

from pathlib import Path

from clearhead.errors import UsageError
from clearhead.interop.folder import new_folder
from clearhead.verbs.exports.formats import FORMATS, Source, Target
from clearhead.verbs.exports.targets import check_target


def export_run(
    run: Path, out: Path, *, target: Target = "hf", quantize: str | None = None, checkpoint: str = "best"
) -> Path:
    """Writes the model of a run as a folder for another library.

    Args:
        run: its directory.
        out: a folder that does not exist yet or is empty; it is there when all of it is written.
        target: hf, for Hugging Face's classes; ctranslate2; or gguf, for llama.cpp.
        quantize: how the weights are stored, a word of ``FORMATS[target]``; None is its first one.
        checkpoint: best, latest, or the name of a checkpoint.

    Raises:
        ModelError: the other library has no such model; the message names the key.
        UsageError: ``out`` is taken, or the target does not store weights so.
        DataError: the folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"folder {str(out)!r} is taken: name another with --out")
    stored = FORMATS[target].stored(target, quantize)
    source = Source.open(run, checkpoint=checkpoint)
    check_target(target, source.family, source.trained.recipe)
    with new_folder(out) as folder:
        FORMATS[target].write(source, folder, stored)
    return out
