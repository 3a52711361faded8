"""Keeps freed memory in the process: on Linux a small model's step is half page faults otherwise."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clearhead.errors import DataError
from clearhead.train.config import TrainConfig

KEPT_SHARE = 0.46
"""What the heap holds in holes between blocks once freed memory is kept, over the activations: the value that is
nearest to what ``benchmarks/memory.py`` measures of seven presets, which are between 0.35 and 0.57."""

# names and numbers of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tells glibc not to give freed blocks back to the kernel; returns False where there is no glibc.

    By default every block over 32 MiB at the most comes from mmap and goes back when freed, and each step takes its
    activations anew, page by page. The price is ``KEPT_SHARE``.
    """
    if not can_keep():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = [(_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20)]
    return [mallopt(name, value) for name, value in settings] == [1] * len(settings)


def can_keep() -> bool:
    """Whether the C library is one that can be told to keep freed memory."""
    return platform.libc_ver()[0] == "glibc"


def resident(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Returns the bytes that this process holds of the machine's memory, its libraries too; None where nobody says."""
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.is_file() else None


@contextmanager
def enough_memory(train: TrainConfig) -> Iterator[None]:
    """Says what to lower where memory runs out in a step.

    Raises:
        DataError: it did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has a class for a GPU's memory; for a machine's there is this text alone
        full = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if not full:
            raise
        half, twice = max(train.batch_tokens // 2, 1), 2 * train.grad_accum_steps
        raise DataError(
            f"out of memory with train.batch_tokens = {train.batch_tokens}: --set train.batch_tokens={half} "
            f"--set train.grad_accum_steps={twice} makes the same step of smaller batches, "
            "--set train.checkpoint_activations=true computes more and keeps less; clearhead plan says what fits"
        ) from error
