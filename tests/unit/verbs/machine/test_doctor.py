"""What a machine offers: devices by name, and a look at everything."""

import shutil
import tomllib
from pathlib import Path

import pytest
import torch

from clearhead import __version__
from clearhead.verbs.machine.doctor import _native_engine, examine
from tests.architecture.source import ROOT
from tests.native import KERNELS


def test_why_there_is_no_native_engine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    assert _native_engine() == "none, PyTorch decodes: CLEARHEAD_ENGINE is off"


def test_everything_is_looked_at(cache: Path) -> None:
    found = examine()
    assert (found["clearhead"], found["torch"]) == (__version__, torch.__version__)
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert set(found["precision"]) == {"float32", "bfloat16", "float16"}
    assert all("GFLOP/s" in text for text in found["precision"].values())
    free = shutil.disk_usage(".").free / 1e9
    assert float(found["free disk"]["here"].split()[0]) == pytest.approx(free, rel=0.1)
    assert str(cache) in found["free disk"]["cache"]
    assert "cpu" in found["devices"]
    assert found["native engine"].startswith((KERNELS[-1], "none, PyTorch decodes: "))
    assert found["decoding"] == {"float32": "fast kernels", "int8": "fast kernels"}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert found["extras"].keys() == declared.keys() - {"test", "bench", "docs"}
