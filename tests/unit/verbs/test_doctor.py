"""What a machine offers: devices by name, and a look at everything."""

import shutil
from pathlib import Path

import pytest
import torch

from clearhead import __version__
from clearhead.verbs.doctor import examine


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
    assert found["extras"].keys() == {"plots", "tensorboard", "interop"}
