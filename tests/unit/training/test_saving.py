"""Checkpoints in the background: order of what is written, what is kept, and what a full disk does."""

import errno
import threading
from pathlib import Path

import pytest
import torch

from clearhead import checkpoint, files
from clearhead.checkpoint import load_checkpoint, verify_checkpoint
from clearhead.errors import DataError
from clearhead.manifest import checkpoints_of
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.runs.pointers import find_checkpoint
from clearhead.training import saving
from clearhead.training.events import NotSaved, Saved
from clearhead.training.saving import MOST_FAILURES, Saver, finish_writing
from clearhead.training.state import TrainState
from tests.limits import HANGS
from tests.small import small


def state(step: int, best_step: int = 0) -> TrainState:
    model = small(seed=0, d_model=8, d_ff=8, n_encoder_layers=1, n_decoder_layers=1)
    return TrainState(model, build_optimizers(model, OptimConfig(), 0.1), step=step, best_step=best_step)


def names(run: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints_of(run)]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_training_goes_on_while_a_copy_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, real = threading.Event(), saving.save_checkpoint
    monkeypatch.setattr(saving, "save_checkpoint", lambda *given: (gate.wait(HANGS), real(*given)))
    saver, one = Saver(tmp_path, 3), state(1)
    before = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    assert saver.save(one) == []
    assert saver.poll() == []
    with torch.no_grad():
        for parameter in one.model.parameters():
            parameter.add_(1.0)
    gate.set()
    assert saver.wait() == [Saved(1, tmp_path / "checkpoints" / "step-00000001")]
    assert saver.poll() == saver.wait() == []
    found = load_checkpoint(tmp_path / "checkpoints" / "step-00000001").tensors["model"]
    assert all(torch.equal(found[name], before[name]) for name in found)


def test_a_run_that_is_resumed_waits_for_the_checkpoint_of_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a notebook a second Ctrl-C leaves the thread that writes it, and the next run would tidy its files away."""
    gate, real = threading.Event(), saving.save_checkpoint
    monkeypatch.setattr(saving, "save_checkpoint", lambda *given: (gate.wait(HANGS), real(*given)))
    Saver(tmp_path, 3).save(state(1))
    finish_writing(tmp_path / "another")
    threading.Timer(0.05, gate.set).start()
    finish_writing(tmp_path / "another" / "..")
    assert names(tmp_path) == [1]
    assert find_checkpoint(tmp_path, "latest") is not None


def test_recipe_and_tokenizer_are_in_every_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    content = {"recipe.toml": b"a = 1", "tokenizer/src.json": b"{}", "tokenizer/tgt.json": b"[]"}
    for name, text in content.items():
        (tmp_path / name).write_bytes(text)
    saver = Saver(tmp_path, 1)
    saver.save(state(1))
    saver.wait()
    path = find_checkpoint(tmp_path, "latest")
    assert path is not None
    assert {name: (path / name).read_bytes() for name in content} == content
    assert content.keys() < verify_checkpoint(path).keys()


def test_pointers_move_after_the_files_and_latest_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    for name in ("save_checkpoint", "verify_checkpoint", "point_to", "drop_checkpoint"):
        real = getattr(saving, name)

        def noted(*given: object, name: str = name, real: object = real, **more: object) -> None:
            log.append(f"{name} {given[1]}" if name == "point_to" else name)
            real(*given, **more)  # type: ignore[operator]

        monkeypatch.setattr(saving, name, noted)
    saver = Saver(tmp_path, 1)
    saver.save(state(1))
    saver.save(state(2, best_step=2))
    saver.wait()
    second = ["save_checkpoint", "verify_checkpoint", "point_to best", "point_to latest", "drop_checkpoint"]
    assert log == ["save_checkpoint", "verify_checkpoint", "point_to latest", *second]


def test_later_checkpoints_of_a_run_that_went_back_do_not_count(tmp_path: Path) -> None:
    """After going on from step 2, nothing is dropped for the sake of the damaged ones behind it."""
    for step in (1, 2, 8, 9):
        saver = Saver(tmp_path, 9)
        saver.save(state(step))
        saver.wait()
    saver = Saver(tmp_path, 2)
    for step, left in ((3, [2, 3, 8, 9]), (4, [3, 4, 8, 9]), (9, [8, 9])):
        saver.save(state(step))
        saver.wait()
        assert names(tmp_path) == left


def test_what_does_not_read_back_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = Saver(tmp_path, 1)
    saver.save(state(1))
    saver.wait()

    def damage(path: Path, given: checkpoint.Checkpoint) -> None:
        checkpoint.save_checkpoint(path, given)
        (path / "model.safetensors").write_bytes(b"x")

    monkeypatch.setattr(saving, "save_checkpoint", damage)
    saver.save(state(2))
    (told,) = saver.wait()
    assert isinstance(told, NotSaved)
    assert "does not read back" in told.problem
    found = find_checkpoint(tmp_path, "latest")
    assert found is not None
    assert (found.name, names(tmp_path)) == ("step-00000001", [1, 2])


def test_a_full_disk_is_told_and_the_last_or_the_third_failure_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = Saver(tmp_path, 1)
    saver.save(state(1))
    saver.wait()
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "save_file", full)
        saver.save(state(2))
        (told,) = saver.wait()
        assert isinstance(told, NotSaved)
        assert "No space left" in told.problem
        saver.save(state(3))
        with pytest.raises(DataError, match=r"step-00000003' cannot be written: .*No space"):
            saver.wait(last=True)
    saver.save(state(4))
    assert saver.wait() == [Saved(4, tmp_path / "checkpoints" / "step-00000004")]
    monkeypatch.setattr(checkpoint, "save_file", full)
    for step in range(5, 5 + MOST_FAILURES - 1):
        saver.save(state(step))
        assert isinstance(saver.wait()[0], NotSaved)
    saver.save(state(9))
    with pytest.raises(DataError, match="step-00000009"):
        saver.wait()
    assert names(tmp_path) == [4]


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_every_write_of_a_save_may_fail(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th call that touches the disk fails, for every n: the last good checkpoint loads each time."""
    first = Saver(tmp_path, 1)
    first.save(state(1))
    first.wait()
    count, fail_at = 0, 0

    def counted(real):  # type: ignore[no-untyped-def]
        def call(*given, **more):  # type: ignore[no-untyped-def]
            nonlocal count
            count += 1
            if count == fail_at:
                raise OSError(number, "refused")
            return real(*given, **more)

        return call

    with monkeypatch.context() as patched:
        for name in ("mkdir", "write_text", "write_bytes", "rename", "replace"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        for module in (checkpoint, files):
            patched.setattr(module, "sync", counted(files.sync))
        patched.setattr(checkpoint, "save_file", counted(checkpoint.save_file))
        for fail_at in range(1, 99):
            saver, count = Saver(tmp_path, 1), 0
            saver.save(state(1 + fail_at, best_step=1 + fail_at))
            (told,) = saver.wait()
            latest = find_checkpoint(tmp_path, "latest")
            assert latest is not None
            # after its name has moved, a pointer may still fail to reach the disk: then the new one is there as well
            assert load_checkpoint(latest).state["step"] in (1, told.step)
            assert names(tmp_path)[0] == 1 or isinstance(told, Saved)
            if isinstance(told, Saved):
                assert latest.name.endswith(f"{told.step}")
                break
            assert "refused" in told.problem
    assert fail_at > 15, "there were fewer writes than a save has"


def test_a_pointer_that_nobody_can_read_drops_nothing(tmp_path: Path) -> None:
    saver = Saver(tmp_path, 1)
    saver.save(state(1, best_step=1))
    saver.wait()
    (tmp_path / "checkpoints" / "best").write_text("what")
    saver.save(state(2, best_step=1))
    assert isinstance(saver.wait()[0], Saved)
    assert names(tmp_path) == [1, 2]


def test_a_best_one_that_was_saved_but_not_named_is_named_when_training_goes_on(tmp_path: Path) -> None:
    saver = Saver(tmp_path, 3)
    for step in (1, 2):
        saver.save(state(step, best_step=1))
        saver.wait()
    one = state(2, best_step=2)
    one.best_score = -1.0
    Saver(tmp_path, 3).repair_best(one)
    found = find_checkpoint(tmp_path, "best")
    assert found is not None
    assert found.name == "step-00000002"
    one.best_step = 7  # which is not there
    Saver(tmp_path, 3).repair_best(one)
    assert find_checkpoint(tmp_path, "best") == found


def test_a_fault_of_the_program_is_no_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "save_checkpoint", lambda *_: {}["x"])
    saver = Saver(tmp_path, 1)
    saver.save(state(1))
    with pytest.raises(KeyError):
        saver.wait()
