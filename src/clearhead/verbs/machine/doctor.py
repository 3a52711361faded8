"""Examines the machine: versions, the native engine, disks, extras, and what PyTorch offers where it is installed."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from typing import Any

from clearhead.engine import library
from clearhead.runs.cache import cache_folder
from clearhead.version import VERSION

EXTRAS = {
    "plots": "matplotlib",
    "tensorboard": "tensorboard",
    "onnx": "onnxruntime",
    "ctranslate2": "ctranslate2",
    "gguf": "gguf",
    "hf": "transformers",
    "sign": "model_signing",
    "serve": "starlette",
    "language": "py3langid",
    "arrow": "pyarrow",
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
        **_torch(),
        "native engine": _native_engine(),
        "free disk": {
            "here": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
            "cache": f"{shutil.disk_usage(existing).free / 1e9:.1f} GB ({folder})",
        },
        "extras": {extra: _version(module) for extra, module in EXTRAS.items()},
    }


def _torch() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return {"torch": "not installed: models run, and nothing trains", "threads": {"cores": os.cpu_count()}}
    from clearhead.verbs.machine.torch_here import examine_torch

    return examine_torch()


def _native_engine() -> str:
    """Says which kernels the native engine has here, or why PyTorch computes in its place."""
    fault = library.fault()
    if fault:
        return f"none, PyTorch decodes: {fault}"
    return f"{library.instructions()} (has {', '.join(library.available())})"


def _version(module: str) -> str:
    if importlib.util.find_spec(module) is None:
        return "not installed"
    return importlib.metadata.version(module.replace("_", "-"))
