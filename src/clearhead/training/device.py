"""The device that a run computes on: which one, what memory it has free, and memory that is kept between steps."""

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clearhead.errors import DataError, UsageError
from clearhead.training.config import TrainConfig
from clearhead.training.distributed import wanted


def pick_device(name: str) -> torch.device:
    """Returns the device for ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: no such device here.
    """
    try:
        here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = here if name == "auto" else torch.device(name)
        if device.type == "cuda" and device.index is None and wanted() > 1:  # each process has a GPU of its own
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r}: not usable here; use auto or cpu, or see clearhead doctor") from error
    return device


def free_memory(device: torch.device) -> int | None:
    """Returns the bytes that this process may yet take on ``device``; None where nobody says.

    On a CPU what Linux or a control group has left, whichever is less, shared among the processes that torchrun started
    here.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [size for size in (_free_on_machine(), _free_in_group()) if size is not None]
    if device.type != "cpu" or not found:
        return None
    return min(found) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _free_on_machine(path: Path = Path("/proc/meminfo")) -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return int(found[1]) * 1024 if found else None


def _free_in_group(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a control group of the second version has left; pages of files count as free, the system drops them."""
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        files = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # no such group, or "max"
        return None
    return max(limit - used + (int(files[1]) if files else 0), 0)


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
