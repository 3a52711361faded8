"""Clean pages of a mapped file leave the memory and come back; changed ones, and other memory, stay."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from clearhead.engine.weights.pages import PAGEMAP, release, trim

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are asked of Linux")
PAGES = 64


def in_memory(array: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    """How many of an array's pages are in the memory of this process."""
    with PAGEMAP.open("rb", buffering=0) as stream:
        stream.seek(array.ctypes.data // mmap.PAGESIZE * 8)
        return sum(entry >> 63 for entry in np.frombuffer(stream.read(8 * PAGES), dtype=np.uint64).tolist())


def test_what_was_read_goes_and_what_was_changed_stays(tmp_path: Path) -> None:
    path, content = tmp_path / "weights", np.arange(PAGES * mmap.PAGESIZE, dtype=np.uint8)
    path.write_bytes(content.tobytes())
    with path.open("rb") as stream:
        mapped = np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY), dtype=np.uint8)
    assert np.array_equal(mapped, content)
    mapped[5 * mmap.PAGESIZE + 3] = 77
    assert in_memory(mapped) == PAGES
    release(mapped.ctypes.data, mapped.nbytes)
    assert in_memory(mapped) == 1
    changed = content.copy()
    changed[5 * mmap.PAGESIZE + 3] = 77
    assert np.array_equal(mapped, changed)
    assert path.read_bytes() == content.tobytes()


def test_other_memory_stays() -> None:
    plain = np.arange(PAGES * mmap.PAGESIZE, dtype=np.uint8)
    release(plain.ctypes.data, plain.nbytes)
    trim()
    assert plain[:4].tolist() == [0, 1, 2, 3]
    assert plain.sum() == np.arange(PAGES * mmap.PAGESIZE, dtype=np.uint8).sum()
