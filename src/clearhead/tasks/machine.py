"""What a machine offers for training: versions, devices, and which precision its hardware is good for."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from clearhead import __version__
from clearhead.errors import UsageError
from clearhead.inspect.limits import gemm_rate
from clearhead.tasks.run import cache_folder
from clearhead.train.distributed import wanted

EXTRAS = {"plots": "matplotlib", "tensorboard": "tensorboard", "interop": "transformers"}


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


def examine() -> dict[str, Any]:
    """Looks at everything that decides how fast a run can be; takes about a second."""
    folder = cache_folder()
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    return {
        "clearhead": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "threads": {"torch": torch.get_num_threads(), "cores": os.cpu_count()},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "devices": _devices(),
        "precision": _precisions(),
        "free disk": {
            "here": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
            "cache": f"{shutil.disk_usage(existing).free / 1e9:.1f} GB ({folder})",
        },
        "extras": {extra: _version(module) for extra, module in EXTRAS.items()},
    }


def _devices() -> dict[str, str]:
    found = {"cpu": platform.processor() or platform.machine()}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def _precisions() -> dict[str, str]:
    """Measures a small matrix product in each type: some machines run half precision a hundred times slower."""
    device = pick_device("auto")
    rates = {kind: gemm_rate(kind, device) / 1e9 for kind in (torch.float32, torch.bfloat16, torch.float16)}
    base = rates[torch.float32]
    words = {}
    for kind, rate in rates.items():
        verdict = "" if kind == torch.float32 else (", worth trying" if rate > 1.2 * base else ", slower: do not use")
        words[str(kind).removeprefix("torch.")] = f"{rate:,.0f} GFLOP/s on {device}{verdict}"
    return words


def product_rate(precision: str, device: torch.device) -> float:
    """Returns products and sums a second of a matrix product of moderate size here, in ``precision``."""
    kinds = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return gemm_rate(kinds.get(precision, torch.float32), device, size=1024)


def _version(module: str) -> str:
    if importlib.util.find_spec(module) is None:
        return "not installed"
    return importlib.metadata.version(module)
