"""Examines the machine: versions, devices, which number formats are fast, which kernels decode."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from typing import Any

import torch

from clearhead.engine import library
from clearhead.engine.choose import KINDS, fault_of
from clearhead.meter.limits import gemm_rate
from clearhead.runs.cache import cache_folder
from clearhead.training.device import pick_device
from clearhead.version import VERSION

EXTRAS = {
    "plots": "matplotlib",
    "tensorboard": "tensorboard",
    "onnx": "onnxruntime",
    "ctranslate2": "ctranslate2",
    "gguf": "gguf",
    "hf": "transformers",
    "sign": "model_signing",
}
"""For each extra a package of it."""


def examine() -> dict[str, Any]:
    """Returns all that decides how fast a run can be, by topic; takes about a second."""
    folder = cache_folder()
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    return {
        "clearhead": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "threads": {"torch": torch.get_num_threads(), "cores": os.cpu_count()},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "devices": _devices(),
        "precision": _precisions(),
        "native engine": _native_engine(),
        "decoding": _engines(),
        "free disk": {
            "here": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
            "cache": f"{shutil.disk_usage(existing).free / 1e9:.1f} GB ({folder})",
        },
        "extras": {extra: _version(module) for extra, module in EXTRAS.items()},
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


def _native_engine() -> str:
    """Says which kernels the native engine has here, or why PyTorch computes in its place."""
    fault = library.fault()
    if fault:
        return f"none, PyTorch decodes: {fault}"
    return f"{library.instructions()} (has {', '.join(library.available())})"


def _engines() -> dict[str, str]:
    """Tries PyTorch's kernels for decoding on a CPU, for each kind of weights; says why where its own layers decode."""
    faults = {weights: fault_of(linear, tolerance=tolerance) for weights, (linear, tolerance) in KINDS.items()}
    without = {"float32": "by PyTorch's own layers, slower", "int8": "not possible"}
    return {weights: f"{without[weights]}: {fault}" if fault else "fast kernels" for weights, fault in faults.items()}


def product_rate(precision: str, device: torch.device) -> float:
    """Returns the FLOP/s of a matrix product of moderate size on ``device``, in the number format ``precision``."""
    kinds = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return gemm_rate(kinds.get(precision, torch.float32), device, size=1024)


def _version(module: str) -> str:
    if importlib.util.find_spec(module) is None:
        return "not installed"
    return importlib.metadata.version(module.replace("_", "-"))
