"""The device of a run: choosing it, its free memory, and keeping freed memory from one step to the next."""

import ctypes
import os
import platform
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clearhead.errors import DataError, UsageError
from clearhead.training.config import TrainConfig
from clearhead.training.distributed import wanted

Device = str | torch.device
"""A device, or what ``pick_device`` knows one by."""


def pick_device(name: Device) -> torch.device:
    """Returns the device for ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: this machine has no such device.
    """
    try:
        best = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = best if name == "auto" else torch.device(name)
        if device.type == "cuda" and device.index is None and wanted() > 1:  # each process has a GPU of its own
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {str(name)!r}: not usable here; use auto or cpu, or see clearhead doctor") from error
    return device


def free_memory(device: torch.device) -> int | None:
    """Returns the bytes that this process can still allocate on ``device``; None if that cannot be known.

    On a CPU this is what the machine or the process's control group has left, whichever is less, divided by the number
    of processes that torchrun started on this machine.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [size for size in (_free_on_machine(), _free_in_group()) if size is not None]
    if device.type != "cpu" or not limits:
        return None
    return min(limits) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def memory_limit(device: torch.device) -> int | None:
    """Returns the bytes that this process can have on ``device`` if nothing else runs there; None if not known.

    On a CPU this is the machine's memory with its swap space, or the limit of the process or of its control group,
    whichever is least, divided by the number of processes that torchrun started on this machine.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type != "cpu":
        return None
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + (_meminfo("SwapTotal") or 0)
    process = resource.getrlimit(resource.RLIMIT_AS)[0]
    limits = [machine, *([] if process == resource.RLIM_INFINITY else [process]), *_group_limits()]
    return min(limits) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _group_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Returns the limits of the process's control group and of those around it, of version 2 and of version 1."""
    groups = re.findall(r"^\d+:(?:memory)?:(/.*)$", own.read_text(), re.MULTILINE) if own.is_file() else []
    limits = []
    for group in {part for path in groups for part in (Path(path), *Path(path).parents)} | {Path("/")}:
        for file in (
            root / group.relative_to("/") / "memory.max",
            root / "memory" / group.relative_to("/") / "memory.limit_in_bytes",
        ):
            try:
                limits.append(int(file.read_text()))
            except (OSError, ValueError):  # no such group, or "max" for no limit
                continue
    return limits


def _meminfo(name: str, path: Path = Path("/proc/meminfo")) -> int | None:
    """Returns a figure of the kernel's in bytes; None where there is none."""
    if not path.is_file():
        return None
    kilobytes = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(kilobytes[1]) * 1024 if kilobytes else None


def _free_on_machine(path: Path = Path("/proc/meminfo")) -> int | None:
    return _meminfo("MemAvailable", path)


def _free_in_group(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Returns the bytes that a control group (version 2) has left; the file cache counts as free, Linux can drop it."""
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # no such group, or "max" for no limit
        return None
    return max(limit - used + (int(cached[1]) if cached else 0), 0)


KEPT_SHARE = 0.46
"""Bytes that the heap loses to fragmentation once it keeps freed memory, as a share of the activations: the value that
best fits what ``benchmarks/memory.py`` measures of seven presets, 0.35 to 0.57."""

KEPT_PRODUCTS = 128
"""Compiled products: ``translate-tiny`` with R-Drop holds 1.57 GB after 80 steps where it was 2.38."""

# parameters of mallopt, from glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tells glibc not to return freed blocks to the kernel, so that the next step reuses them.

    By default glibc takes large blocks (over a threshold of at most 32 MiB) from mmap and returns them when freed; each
    step then has its activations mapped anew, page by page. The price is fragmentation, see ``KEPT_SHARE``.

    Returns:
        False if the C library is not glibc, or if it refused.
    """
    if not can_keep():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = [(_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20)]
    return [mallopt(name, value) for name, value in settings] == [1] * len(settings)


def keep_few_products() -> None:
    """Lets oneDNN keep fewer of the products that it compiles in bfloat16, one a shape, with memory of their own.

    It would keep 1,024, which batches of ever other lengths fill. The products of one step have far fewer shapes. A
    number that is set in the environment stays. To be called before the first product.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT_PRODUCTS))


def can_keep() -> bool:
    """Whether the C library can be told to keep freed memory: whether it is glibc."""
    return platform.libc_ver()[0] == "glibc"


def resident(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Returns the bytes of physical memory that this process holds, libraries included; None if not on Linux."""
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.is_file() else None


@contextmanager
def enough_memory(train: TrainConfig) -> Iterator[None]:
    """Turns running out of memory in a step into an error that says which keys to lower.

    Raises:
        DataError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has an exception class for a GPU's memory; for the CPU's there is only this text
        full = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if not full:
            raise
        half, twice = max(train.batch_tokens // 2, 1), 2 * train.grad_accum_steps
        raise DataError(
            f"out of memory with train.batch_tokens = {train.batch_tokens}: --set train.batch_tokens={half} "
            f"--set train.grad_accum_steps={twice} makes the same step of smaller batches, "
            "--set train.checkpoint_activations=true computes more and keeps less; clearhead plan says what fits"
        ) from error
