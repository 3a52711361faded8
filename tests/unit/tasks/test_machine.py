"""What a machine offers: devices by name, and a look at everything."""

import shutil
from pathlib import Path

import pytest
import torch

from clearhead import __version__
from clearhead.errors import UsageError
from clearhead.tasks import machine
from clearhead.tasks.machine import examine, free_memory, pick_device


def test_devices_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "", "cuda:99", "cpu:x"):
        with pytest.raises(UsageError, match=rf"device '{name}': not usable here; use auto or cpu"):
            pick_device(name)


def test_free_memory_is_the_least_that_anybody_allows_and_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  200 kB\nMemAvailable:     100 kB\nBuffers: 3 kB\n")
    assert machine._free_on_machine(tmp_path / "meminfo") == 102_400
    assert machine._free_on_machine(tmp_path / "none") is None
    for name, text in (
        ("memory.max", "9000\n"),
        ("memory.current", "5000"),
        ("memory.stat", "file 7\ninactive_file 40"),
    ):
        (tmp_path / name).write_text(text)
    assert machine._free_in_group(tmp_path) == 4040
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._free_in_group(tmp_path) is None
    monkeypatch.setattr(machine, "_free_on_machine", lambda: 1000)
    monkeypatch.setattr(machine, "_free_in_group", lambda: 600)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert free_memory(torch.device("cpu")) == 300
    monkeypatch.setattr(machine, "_free_in_group", lambda: None)
    assert free_memory(torch.device("cpu")) == 500
    assert free_memory(torch.device("meta")) is None


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
