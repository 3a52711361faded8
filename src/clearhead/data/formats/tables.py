"""Rows of Parquet and Arrow files, and of data sets as Hugging Face's ``datasets`` saves them, a batch at a time."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clearhead.errors import DataError, UsageError
from clearhead.files import read_small

TABLES = (".parquet", ".arrow")
ROWS = 1024  # that are in memory


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, or a folder what ``Dataset.save_to_disk`` has written."""
    return path.suffix in TABLES or (path / "state.json").is_file()


def table_files(path: Path) -> list[Path]:
    """Returns the files of a table, in order: the file itself, or those that the folder of a data set names.

    Raises:
        DataError: the folder is damaged, or its rows stand in another order than its files.
    """
    if not path.is_dir():
        return [path]
    try:
        state = json.loads(read_small(path / "state.json"))
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path / 'state.json'} is not as Hugging Face's datasets writes it") from error
    if state.get("_indices_files"):
        raise DataError(f"{path}: its rows are a selection of its files; save it anew after flatten_indices()")
    if wrong := next((name for name in names if Path(name).name != name), None):
        raise DataError(f"{path / 'state.json'} names {wrong!r}, which is not in the folder")
    return [path / name for name in names]


def table_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yields the rows of a table as values by column.

    Args:
        path: see ``is_table``.
        columns: which are read; None: all.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: a file cannot be read, or is no such table.
    """
    for file in table_files(path):
        with _reading(file):
            for batch in _parquet(file, columns) if file.suffix == ".parquet" else _arrow(file):
                yield from (batch if columns is None else batch.select(columns)).to_pylist()


def column_names(path: Path) -> list[str]:
    """Returns the names of the columns of a table; raises as ``table_rows``."""
    file = table_files(path)[0]
    with _reading(file) as pyarrow:
        if file.suffix == ".parquet":
            from pyarrow import parquet

            return list(parquet.read_schema(file).names)
        with pyarrow.OSFile(str(file)) as source:
            return list(_reader(source).schema.names)


def json_lines(path: Path) -> Iterator[str]:
    """Yields the rows of a table as lines of JSON, which readers of JSONL take; what JSON has no value for is text."""
    for row in table_rows(path):
        yield json.dumps(row, ensure_ascii=False, default=str) + "\n"


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[Any]:
    """Gives pyarrow; what it says of a file that cannot be read becomes a DataError."""
    pyarrow = _pyarrow()
    try:
        yield pyarrow
    except (OSError, pyarrow.ArrowException) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file} cannot be read: {said[:200]}") from error


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError("Parquet and Arrow take `pip install 'clearhead[arrow]'`") from error
    return pyarrow


def _parquet(file: Path, columns: Sequence[str] | None) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        yield from opened.iter_batches(ROWS, columns=None if columns is None else list(columns))


def _arrow(file: Path) -> Iterator[Any]:
    """Yields batches of an Arrow file of either kind: of random access, or a stream, which is what datasets writes."""
    with _pyarrow().OSFile(str(file)) as source:
        reader = _reader(source)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if hasattr(reader, "get_batch") else reader
        for batch in batches:
            yield from (batch.slice(first, ROWS) for first in range(0, len(batch), ROWS))


def _reader(source: Any) -> Any:
    from pyarrow import ipc

    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    return ipc.open_file(source) if is_file else ipc.open_stream(source)
