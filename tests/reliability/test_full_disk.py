"""A disk that is really full: a small one in memory, which a process of its own mounts where that is allowed.

The mount is in that process's namespace and goes with it, however it ends.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import load_checkpoint, verify_checkpoint
from clearhead.errors import DataError
from clearhead.manifest import checkpoints_of
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.runs.pointers import find_checkpoint
from clearhead.training.events import NotSaved, Saved
from clearhead.training.saving import Saver
from clearhead.training.state import TrainState
from tests.small import small
from tests.toy import environment

APART = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def mount(folder: Path, size: int) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]


@pytest.mark.long
def test_a_full_disk_costs_the_new_checkpoint_and_never_the_last_good_one(tmp_path: Path) -> None:
    try:
        tried = subprocess.run([*APART, *mount(tmp_path, 65_536)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"there is no {error.filename} here")
    if tried.returncode:
        pytest.skip(f"a disk cannot be mounted here: {tried.stderr.strip()}")
    command = [*APART, sys.executable, "-m", "tests.reliability.test_full_disk", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout) == (0, "6 times full\n"), done.stderr
    assert list(tmp_path.iterdir()) == [], "the disk went with its process"


def state(step: int) -> TrainState:
    """A model whose optimizer has moments, at ``step``."""
    model = small(seed=0, d_model=32, d_ff=64)
    optimizers = build_optimizers(model, OptimConfig(), 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers.step()
    return TrainState(model, optimizers, step=step, best_step=1)


def fill(disk: Path, left: int) -> Path:
    """Takes all room but ``left`` bytes."""
    path = disk / "other"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
        file.truncate(max(file.tell() - left, 0))
    return path


def check_last_good(disk: Path, step: int) -> None:
    """The latest checkpoint is that of ``step``, whole, with the tensors that were saved."""
    latest = find_checkpoint(disk, "latest")
    assert latest is not None
    assert latest.name == f"step-{step:08d}"
    verify_checkpoint(latest)
    found, expected = load_checkpoint(latest).tensors, state(step).snapshot().tensors
    assert {stem: set(tensors) for stem, tensors in found.items()} == {stem: set(own) for stem, own in expected.items()}
    for stem, tensors in expected.items():
        assert all(torch.equal(found[stem][name], tensor) for name, tensor in tensors.items())


def main(disk: Path) -> None:
    """Saves with room for nothing, for a part, for all but the last bytes; then there is room again, and none."""
    size = sum(tensor.nbytes for tensors in state(1).snapshot().tensors.values() for tensor in tensors.values())
    subprocess.run(mount(disk, 4 * size), check=True)
    saver = Saver(disk, keep_last=1)
    saver.save(state(1))
    assert saver.wait() == [Saved(1, disk / "checkpoints" / "step-00000001")]
    size = sum(path.stat().st_size for path in (disk / "checkpoints" / "step-00000001").rglob("*"))
    times = 0
    for number, share in enumerate([0.0, 0.1, 0.4, 0.8, 0.97], 2):
        other = fill(disk, int(share * size))
        saver.save(state(number))
        (told,) = saver.wait()
        assert isinstance(told, NotSaved)
        assert "No space left on device" in told.problem
        check_last_good(disk, 1)
        assert [path.name for path in checkpoints_of(disk)] == ["step-00000001"]
        other.unlink()
        saver, times = Saver(disk, keep_last=1), times + 1  # a third failure in a row would end the run
    saver.save(state(7))
    assert saver.wait() == [Saved(7, disk / "checkpoints" / "step-00000007")]
    fill(disk, 0)
    saver.save(state(8))
    with pytest.raises(DataError, match="No space left on device"):
        saver.wait(last=True)
    check_last_good(disk, 7)
    sys.stdout.write(f"{times + 1} times full\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
