"""The device: which one, its free memory, and kept memory: allocating a freed block again costs no page faults."""

import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clearhead.errors import DataError, UsageError
from clearhead.training import device as machine
from clearhead.training.config import TrainConfig
from clearhead.training.device import enough_memory, free_memory, memory_limit, pick_device, resident

PROBE = """
import ctypes, resource
from clearhead.training.device import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        block = libc.malloc(48 << 20)
        ctypes.memset(block, 1, 48 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before, kept = faults(), keep_freed_memory()
faults()
print(kept, before, faults())
"""


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_freed_blocks_are_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    kept, before, after = done.stdout.split()
    assert kept == "True"
    assert int(after) < int(before) / 4, f"{before} page faults before, {after} after"


def test_elsewhere_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from clearhead.training.device import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert keep_freed_memory() is False


def test_the_products_that_are_kept_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "7")
    machine.keep_few_products()
    assert os.environ[name] == "7"
    monkeypatch.delenv(name)
    machine.keep_few_products()
    assert os.environ[name] == str(machine.KEPT_PRODUCTS)


def test_what_a_process_holds_grows_with_what_it_takes() -> None:
    before = resident()
    if before is None:
        pytest.skip("no /proc/self/statm")
    size = 64 * 2**20
    with mmap.mmap(-1, size) as block:  # directly from the system: the heap may have freed memory left
        block.write(b"1" * size)
        after = resident()
    assert after is not None
    assert 0.9 * size < after - before < 2.5 * size  # the bytes written may take as much again
    assert resident(Path("/proc/none")) is None


def test_where_memory_runs_out_it_is_said_what_to_lower() -> None:
    with (
        pytest.raises(DataError, match=r"^out of memory .*batch_tokens=256 --set train\.grad_accum_steps=6 "),
        enough_memory(TrainConfig(batch_tokens=512, grad_accum_steps=3)),
    ):
        torch.empty(1 << 60, dtype=torch.uint8)  # raises torch's error for the CPU's memory
    with (
        pytest.raises(DataError, match=r"^out of memory"),
        enough_memory(TrainConfig()),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match=r"^something else"), enough_memory(TrainConfig()):
        raise RuntimeError("something else")


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


def test_the_limit_is_the_least_of_machine_process_and_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup").write_text("4:cpuset:/\n3:memory:/jobs/7\n0::/slice/app\n")
    for file, text in (
        ("slice/app/memory.max", "max\n"),
        ("slice/memory.max", "9000\n"),
        ("memory/jobs/memory.limit_in_bytes", "7000\n"),
        ("memory/memory.limit_in_bytes", f"{2**63 - 4096}\n"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert sorted(machine._group_limits(tmp_path, tmp_path / "cgroup")) == [7000, 9000, 2**63 - 4096]
    assert machine._group_limits(tmp_path / "none", tmp_path / "none") == []
    cpu = torch.device("cpu")
    monkeypatch.setattr(machine, "_group_limits", list)
    whole = memory_limit(cpu)
    assert whole is not None
    assert whole >= (free_memory(cpu) or 0)
    monkeypatch.setattr(machine, "_group_limits", lambda: [5000])
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert memory_limit(cpu) == 2500
    assert memory_limit(torch.device("meta")) is None
