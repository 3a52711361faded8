"""Files: replaced whole and never through a link; what is read is bounded, and named if it is no text."""

import codecs
import contextlib
import gzip
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

from clearhead.errors import DataError, ModelError
from clearhead.ranges import TOO_DEEP, too_deep

MOST_SMALL = 1 << 26
"""Bytes that a file may have which is read as a whole: settings, states and reports, never text or weights."""
MOST_OF_TEXT = 1 << 27
"""Bytes that the file of a tokenizer, a recipe or labels may have; the largest known have a quarter of that."""
MOST_UNPACKED = 1 << 24
MOST_RATIO = 200
"""A gzip file may unpack to this many bytes, and beyond that to so many times the bytes that were read of it."""
MOST_LINE = 1 << 24
"""Bytes that a line of text may have, 16 MiB."""
HEAD = 1 << 16
"""Bytes at the beginning of a text that are looked at to say what it is."""

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive, as .docx and .xlsx are"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"%PDF-", "PDF"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def write_whole(path: Path, content: bytes) -> None:
    """Replaces ``path`` atomically: writes ``content`` to a temporary file, flushes it to disk and renames it.

    A link at ``path`` is replaced too; what it points to stays as it is. A device or a pipe is written to. For a file
    that a user names, which may well be a link, use ``write_output``.

    Raises:
        OSError: the disk is full or the file cannot be written; the old file is unchanged.
    """
    if _is_special(path):
        path.write_bytes(content)
        return
    temporary = path.with_name(path.name + ".tmp")
    try:
        make_new(temporary)
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    except OSError:
        remove(temporary)
        raise
    sync(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that replaces ``path`` atomically at the end; after an error ``path`` is unchanged.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve()  # a link that the user names is followed, as other tools do
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        remove(temporary)
        raise
    sync(path.parent)


def write_output(path: Path, content: bytes) -> None:
    """Writes a file that a user has named: see ``replacing``.

    Raises:
        DataError: the disk is full or the file cannot be written.
    """
    try:
        with replacing(path) as stream:
            stream.write(content)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def make_new(path: Path) -> None:
    """Makes an empty file; a file or a link that was left there is deleted, and what the link points to is not opened.

    Raises:
        OSError: it cannot be made.
    """
    remove(path)
    path.touch(exist_ok=False)


def open_to_append(path: Path) -> io.BufferedRandom:
    """Opens a file for reading, and for writing at its end; it is made if it is missing.

    Raises:
        DataError: it is a link, a device or a pipe.
        OSError: it cannot be opened.
    """
    if path.is_symlink() or _is_special(path):
        raise DataError(f"{str(path)!r} is a link or a device, and a run writes to files of its own alone: delete it")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "a+b")


def usual_mode(folder: Path) -> int:
    """Returns the permissions that a new file gets in ``folder``: what the umask, or an ACL of the folder, leaves."""
    probe = folder / ".mode"
    make_new(probe)
    mode = stat.S_IMODE(probe.stat().st_mode)
    remove(probe)
    return mode


def read_small(path: Path, most: int = MOST_SMALL) -> bytes:
    """Reads a file as a whole.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more than ``most`` bytes, or is no file.
    """
    if path.exists() and not path.is_file():
        raise ValueError("not a file")
    with path.open("rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise ValueError(f"more than {most:,} bytes")
        return file.read(size)


def read_given(path: Path, most: int, name: str) -> bytes:
    """Reads a file that a user names, called ``name`` in messages; raises DataError if that cannot be."""
    try:
        return read_small(path, most)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{name} cannot be read: {error}") from error


def decoded(content: bytes, name: str, encoding: Literal["utf-8", "utf-8-sig"] = "utf-8") -> str:
    """Returns bytes as text; raises DataError, saying what they are or with the line, if they are not UTF-8."""
    if problem := not_utf8(content[:HEAD], by_name=False):
        raise DataError(f"{name} {problem}")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line, begin = content.count(b"\n", 0, error.start) + 1, content.rfind(b"\n", 0, error.start) + 1
        byte = error.start - begin + 1
        raise DataError(f"{name}, line {line}: not UTF-8 (byte {byte} of the line)") from error


def not_utf8(head: bytes, *, by_name: bool = True) -> str:
    """Returns what a file is and how to mend it, if it is no UTF-8 text as a whole; else an empty string.

    Single damaged lines, and encodings other than UTF-16, UTF-32 and GB18030, are left to who decodes the lines.

    Args:
        head: its first bytes, ``HEAD`` of them or all.
        by_name: whether it would be decompressed if its name ended in .gz.
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            if name == "gzip":
                return f"is gzip, not text: decompress it{', or let its name end in .gz' if by_name else ''}"
            return f"is {name}, not text: take the text out of it"
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "") or _unmarked(head)
    return f"is {encoding}, not UTF-8: convert it by iconv -f {encoding} -t UTF-8" if encoding else ""


def _unmarked(head: bytes) -> str:
    """Returns the encoding of text without a byte order mark; an empty string where it is UTF-8 or not known."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 8 and min(even, odd) <= len(head) // 64:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    # the last line may be cut inside a character
    if not any(map(_is_utf8, lines)) and lines and _is_gb18030(b"\n".join(lines)):
        return "GB18030"
    return ""


def _is_utf8(line: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError:
        return False
    return True


def _is_gb18030(text: bytes) -> bool:
    """Whether bytes read as GB18030 are Chinese: nearly all beyond ASCII are in GB2312, the common characters."""
    try:
        characters = [c for c in codecs.getincrementaldecoder("gb18030")().decode(text) if not c.isascii()]
    except UnicodeDecodeError:
        return False
    common = sum(_in_gb2312(character) for character in characters)
    return len(characters) > 1 and common > 0.9 * len(characters)


def _in_gb2312(character: str) -> bool:
    try:
        return bool(character.encode("gb2312"))
    except UnicodeEncodeError:
        return False


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON table.

    Raises:
        ModelError: it is missing, too large, or something else.
    """
    tree = _json(path)
    if not isinstance(tree, dict):
        raise ModelError(f"{str(path)!r} is not a table")
    return tree


def read_json_list(path: Path) -> list[Any]:
    """Reads a JSON list; raises as ``read_json`` does."""
    items = _json(path)
    if not isinstance(items, list):
        raise ModelError(f"{str(path)!r} is not a list")
    return items


def _json(path: Path) -> Any:
    try:
        tree = json.loads(read_small(path))
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ModelError(f"{str(path)!r}: {TOO_DEEP}") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not JSON: {str(error).partition(' for integer')[0][:200]}") from error
    if too_deep(tree):
        raise ModelError(f"{str(path)!r}: {TOO_DEEP}")
    return tree


def bounded_lines(stream: Any, name: str, most: int = MOST_LINE) -> Iterator[bytes]:
    """Yields the lines of a stream with their line ends, as iterating over it does; no line takes unbounded memory.

    Args:
        stream: of bytes, with ``readline``.
        name: of the stream, for messages.
        most: bytes that a line may have.

    Raises:
        DataError: a line is longer; the message names it.
    """
    number = 0
    while line := stream.readline(most + 1):
        number += 1
        check_line(len(line), name, number, most)
        yield line


def check_line(length: int, name: str, number: int, most: int = MOST_LINE) -> None:
    """Raises DataError if line ``number`` of a file or stream has more than ``most`` bytes."""
    if length > most:
        raise DataError(f"{name} line {number}: longer than {most >> 20} MiB, no end of it was found")


class Unpacked(io.RawIOBase):
    """What a gzip file holds, up to a size that text cannot have packed like that: 10 GB of zeros take 10 MB."""

    def __init__(self, path: Path) -> None:
        self._path, self._taken = path, 0
        self._packed = path.open("rb")
        self._file = gzip.GzipFile(fileobj=self._packed)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills ``buffer`` with what comes next; raises DataError if that is too much."""
        count = self._file.readinto(buffer)
        self._taken += count
        if self._taken > max(MOST_UNPACKED, MOST_RATIO * self._packed.tell()):
            most = f"more than {MOST_UNPACKED >> 20} MiB and {MOST_RATIO} times its size"
            raise DataError(f"{self._path}: unpacks to {most}, as no text does")
        return count

    def close(self) -> None:
        """Closes the file."""
        if not self.closed:
            self._file.close()
            self._packed.close()
        super().close()


def _is_special(path: Path) -> bool:
    """Says whether ``path`` itself is a device, a pipe or a socket, which must not be replaced by a file."""
    try:
        kind = stat.S_IFMT(path.lstat().st_mode)
    except OSError:
        return False
    return kind not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR)


def sync(path: Path) -> None:
    """Flushes a file, or the file names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Deletes a file or a link; does nothing if it does not exist or cannot be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()
