"""What PyTorch offers on this machine: devices, which number formats are fast, which of its kernels decode."""

import os
import platform
from typing import Any

import torch

from clearhead.engine.choose import KINDS, fault_of
from clearhead.meter.limits import gemm_rate
from clearhead.training.device import pick_device


def examine_torch() -> dict[str, Any]:
    """Returns what is known by topic; takes about a second."""
    return {
        "torch": torch.__version__,
        "threads": {"torch": torch.get_num_threads(), "cores": os.cpu_count()},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "devices": _devices(),
        "precision": _precisions(),
        "decoding": _engines(),
    }


def _devices() -> dict[str, str]:
    devices = {"cpu": platform.processor() or platform.machine()}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def _precisions() -> dict[str, str]:
    """Measures a small matrix product in each number format; on some machines half precision is 100 times slower."""
    device = pick_device("auto")
    rates = {kind: gemm_rate(kind, device) / 1e9 for kind in (torch.float32, torch.bfloat16, torch.float16)}
    base = rates[torch.float32]
    reports = {}
    for kind, rate in rates.items():
        report = [f"{rate:,.0f} GFLOP/s on {device}"]
        if kind != torch.float32:
            report.append("worth trying" if rate > 1.2 * base else "slower, do not use it")
        reports[str(kind).removeprefix("torch.")] = "; ".join(report)
    return reports


def _engines() -> dict[str, str]:
    """Tries PyTorch's kernels for decoding on a CPU, for each kind of weights; says why where its own layers decode."""
    faults = {weights: fault_of(linear, tolerance=tolerance) for weights, (linear, tolerance) in KINDS.items()}
    without = {"float32": "by PyTorch's own layers, slower", "int8": "not possible"}
    return {weights: f"{without[weights]}: {fault}" if fault else "fast kernels" for weights, fault in faults.items()}


def product_rate(precision: str, device: torch.device) -> float:
    """Returns the FLOP/s of a matrix product of moderate size on ``device``, in the number format ``precision``."""
    kinds = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return gemm_rate(kinds.get(precision, torch.float32), device, size=1024)
