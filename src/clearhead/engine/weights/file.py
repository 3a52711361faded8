"""A packed model in one file that is mapped into memory: its weights, and what its user must know; no torch, no pickle.

A file is 64 bytes, a header and blocks. The 64 bytes are ``MAGIC``, the format and the header's size in 8 bytes each,
and the SHA-256 of the header, which is JSON. It says where the blocks are, each at a multiple of 64 bytes, and their
checksums. The first block holds the arrays of the ``Image``, all others are small files of the run. Numbers are
little-endian. Processes that map one file share its memory.
"""

import hashlib
import json
import mmap
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import KINDS
from clearhead.engine.weights.image import Image
from clearhead.engine.weights.packing import Weights
from clearhead.engine.weights.pointers import filled, read_tree
from clearhead.errors import DataError, ModelError
from clearhead.files import replacing
from clearhead.version import VERSION

MAGIC = b"clearhead model\n"
FORMAT = 1
LAYOUT = 1
"""Counts changes of how weights are packed, see ``native/clearhead.h``."""
SUFFIX = ".clearhead"
PREAMBLE = 64
LINE = 64  # bytes of a cache line, which blocks and arrays begin at
MOST_HEADER = 1 << 26
DAMAGES = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading a header raises that is not as it was written."""

Tree = dict[str, Any]


@dataclass(frozen=True)
class ModelFile:
    """A file that is open; its weights are read where they are needed."""

    path: Path
    about: Tree
    """What the writer says of the model: JSON values."""
    files: Mapping[str, bytes]
    """Small files of the run, by their path in it."""
    image: Image
    weights: Weights
    """How linear layers hold theirs."""


def write_model(path: Path, image: Image, about: Tree, files: Mapping[str, bytes]) -> None:
    """Writes a file beside ``path``, which takes its place when it is whole.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    blocks: dict[str, list[Any]] = {}
    at = 0
    spans = []
    checksum = hashlib.sha256()
    for array in image.arrays:
        spans.append([at, array.nbytes])
        at = _aligned(at + array.nbytes)
        checksum.update(array.data)
        checksum.update(bytes(-array.nbytes % LINE))
    blocks["weights"] = [0, at, checksum.hexdigest()]
    for name, content in files.items():
        blocks[name] = [at, len(content), hashlib.sha256(content).hexdigest()]
        at = _aligned(at + len(content))
    header = {
        "writer": VERSION,
        "layout": LAYOUT,
        "weights": image.weights,
        "about": about,
        "blocks": blocks,
        "arrays": spans,
        "model": read_tree(image.model, {int(array.ctypes.data): n for n, array in enumerate(image.arrays)}),
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    sizes = FORMAT.to_bytes(8, "little") + len(text).to_bytes(8, "little")
    try:
        with replacing(path) as stream:
            _write(stream, MAGIC + sizes + hashlib.sha256(text).digest())
            parts: list[Any] = [text, *(array.data for array in image.arrays), *files.values()]
            for part in parts:
                _write(stream, part)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def is_model_file(path: Path) -> bool:
    """Whether ``path`` is a file that begins as these do, whatever is in the rest."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def digest_of_header(path: Path) -> bytes:
    """Returns the SHA-256 of the header of such a file, which has the checksums of all else.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(PREAMBLE)[32:]
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def about_model(path: Path) -> Tree:
    """Returns what the writer of a file says of its model, without a look at the rest of it.

    Raises:
        ModelError: see ``open_model``.
    """
    try:
        about: Tree = _header(path, _mapped(path))[0]["about"]
    except DAMAGES as error:
        raise ModelError(f"{str(path)!r} is damaged: {str(error)[:200]}") from error
    return about


def open_model(path: Path) -> ModelFile:
    """Maps a file, and checks all of it against its checksums.

    Raises:
        ModelError: it cannot be read, is no such file, is damaged or cut short, or another version wrote it otherwise.
    """
    block = _mapped(path)
    try:
        header, start = _header(path, block)
        return _opened(path, block, header, start)
    except DAMAGES as error:
        raise ModelError(f"{str(path)!r} is damaged: {str(error)[:200]}") from error


def _write(stream: IO[bytes], content: "bytes | memoryview[Any]") -> None:
    """Writes a part, and zeros up to where the next begins."""
    stream.write(content)
    stream.write(bytes(-memoryview(content).nbytes % LINE))


def _aligned(at: int) -> int:
    return -(-at // LINE) * LINE


def _mapped(path: Path) -> NDArray[np.uint8]:
    """Returns all bytes of a file; they live as long as the array."""
    try:
        with path.open("rb") as stream:
            return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of an empty file
        raise ModelError(f"{str(path)!r} is no model that clearhead wrote: it is empty") from error


def _header(path: Path, block: NDArray[np.uint8]) -> tuple[Tree, int]:
    """Returns the header, of a version that is read here, and where the blocks begin."""
    first = block[:PREAMBLE].tobytes()
    if first[: len(MAGIC)] != MAGIC:
        raise ModelError(f"{str(path)!r} is no model that clearhead wrote")
    form, size = (int.from_bytes(first[at : at + 8], "little") for at in (16, 24))
    if form != FORMAT:
        raise ModelError(f"{str(path)!r} has format {form}; this version of clearhead, {VERSION}, reads {FORMAT}")
    text = block[PREAMBLE : PREAMBLE + min(size, MOST_HEADER)].tobytes()
    if len(text) != size or hashlib.sha256(text).digest() != first[32:]:
        raise ModelError(f"{str(path)!r} is damaged: its header is not as it was written")
    header = json.loads(text)
    _check_versions(path, header)
    return header, PREAMBLE + _aligned(size)


def _check_versions(path: Path, header: Tree) -> None:
    if sys.byteorder != "little":
        raise ModelError(f"{str(path)!r} holds little-endian numbers, and this machine's are not")
    if header["layout"] != LAYOUT or header["weights"] not in KINDS:
        raise ModelError(
            f"{str(path)!r} was written by clearhead {header['writer']}, which packs weights in another way than "
            f"this version, {VERSION}: export it again"
        )


def _opened(path: Path, block: NDArray[np.uint8], header: Tree, start: int) -> ModelFile:
    contents = {}
    for name, (at, size, digest) in header["blocks"].items():
        content = block[start + at : start + at + size]
        if len(content) != size or hashlib.sha256(content.data).hexdigest() != digest:
            what = "it is cut short" if len(content) != size else f"{name} is not as it was written"
            raise ModelError(f"{str(path)!r} is damaged: {what}")
        contents[name] = content
    weights = contents.pop("weights")
    arrays: list[NDArray[Any]] = []
    for at, size in header["arrays"]:
        if at % LINE or not 0 <= at <= at + size <= len(weights):
            raise ValueError(f"the header has an array at {at} of {size} bytes")
        arrays.append(weights[at : at + size])
    model, stacks = filled(header["model"], arrays)
    image = Image.of(model, stacks, arrays, header["weights"])
    files = {name: content.tobytes() for name, content in contents.items()}
    return ModelFile(path, header["about"], files, image, header["weights"])
