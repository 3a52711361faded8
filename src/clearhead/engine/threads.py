"""How many threads the native engine takes where nobody says: as many as PyTorch would; no torch."""

import os


def threads() -> int:
    """Returns OMP_NUM_THREADS, which PyTorch reads too, or the number of cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
