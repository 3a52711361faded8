"""An export that is one file: it is made and compared in a folder, and takes its certificate with it."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clearhead.config import Tree
from clearhead.engine.weights.file import SUFFIX, open_model, write_model
from clearhead.errors import DataError, UsageError
from clearhead.export.certificate import NAME as CERTIFICATE
from clearhead.export.file import NAME


def check_file_name(out: Path) -> None:
    """Raises UsageError if a file of a model cannot have this name."""
    if out.suffix != SUFFIX:
        raise UsageError(f"--out {str(out)!r}: must end in {SUFFIX} with --to file")
    if out.exists():
        raise UsageError(f"file {str(out)!r} is taken: name another with --out")


@contextlib.contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """Gives a folder for ``model.clearhead`` and its certificate, which are the file ``out`` at the end.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=out.resolve().parent, prefix=f".{out.name}.") as name:
            folder = Path(name)
            yield folder
            file = open_model(folder / NAME)
            certificate: Tree = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
            write_model(out, file.image, {**file.about, "certificate": certificate["predicate"]}, file.files)
    except OSError as error:
        raise DataError(f"{str(out)!r} cannot be written: {error.strerror}") from error
