"""The most that a machine can do, measured: matrix products, and reading and writing memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_SECONDS = 0.15  # of each measurement; the best run counts, for the first ones start threads and load kernels


@dataclass(frozen=True)
class Limits:
    """Rates that no operator exceeds for long."""

    flops: float
    """Floating-point operations a second, of a large matrix product."""
    bytes: float
    """Bytes read and written a second, of a copy much larger than a cache."""


def measure_limits(device: torch.device, kind: torch.dtype = torch.float32) -> Limits:
    """Measures both rates in half a second."""
    return Limits(gemm_rate(kind, device, 768), bandwidth(device))


def gemm_rate(kind: torch.dtype, device: torch.device, size: int = 384) -> float:
    """Returns the floating-point operations a second of a square matrix product."""
    a = torch.randn(size, size, device=device).to(kind)
    return 2 * size**3 / _best(lambda: float((a @ a)[0, 0]))  # reading a value waits for the result


def bandwidth(device: torch.device, size: int = 1 << 26) -> float:
    """Returns the bytes read and written a second by a copy of ``size`` bytes."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / _best(lambda: float(target.copy_(source)[0]))


def _best(work: Callable[[], object]) -> float:
    times: list[float] = []
    until = time.perf_counter() + _SECONDS
    while time.perf_counter() < until or len(times) < 3:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)
