"""Memory of mapped files: gives back what was read and not changed, which the system can read again; no torch."""

import contextlib
import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np

PAGEMAP = Path("/proc/self/pagemap")
IN_MEMORY, OF_A_FILE = 63, 61  # bits of a page's entry there, see the kernel's documentation


def release(address: int, size: int) -> None:
    """Gives back the pages of a part of memory that are of a mapped file and have not been changed.

    Pages of any other kind stay, and so does everything on systems that do not say which pages are which.
    """
    if sys.platform != "linux":
        return
    first, last = address // mmap.PAGESIZE, -(-(address + size) // mmap.PAGESIZE)
    try:
        with PAGEMAP.open("rb", buffering=0) as stream:
            stream.seek(8 * first)
            entries = np.frombuffer(stream.read(8 * (last - first)), dtype=np.uint64)
    except OSError:
        return
    clean = (entries >> np.uint64(IN_MEMORY)) & (entries >> np.uint64(OF_A_FILE)) & np.uint64(1)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], clean.astype(np.int8), [0]))))
    system = ctypes.CDLL(None)
    for begin, end in edges.reshape(-1, 2).tolist():
        where = ctypes.c_void_p((first + begin) * mmap.PAGESIZE)
        system.madvise(where, ctypes.c_size_t((end - begin) * mmap.PAGESIZE), mmap.MADV_DONTNEED)


def trim() -> None:
    """Gives back what the C library keeps of memory that was freed, where it can."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
