"""Training states of a small model, and runs that hold checkpoints of them."""

from pathlib import Path

from clearhead.manifest import checkpoints_of
from clearhead.optim.build import OptimConfig, build_ema, build_optimizers
from clearhead.training.events import Saved
from clearhead.training.saving import Saver
from clearhead.training.state import TrainState
from tests.small import small


def state(*, ema: bool = False, seed: int = 0, **sizes: int) -> TrainState:
    model = small(seed=seed, **sizes)
    return TrainState(model, build_optimizers(model, OptimConfig(), 0.1), build_ema(model, 0.9) if ema else None)


def save(one: TrainState, run: Path, keep_last: int = 3) -> Path:
    saver = Saver(run, keep_last)
    saver.save(one)
    (told,) = saver.wait(last=True)
    assert isinstance(told, Saved)
    return told.path


def saved(run: Path, step: int, *, best: bool = False, keep_last: int = 2) -> None:
    one = state()
    one.step, one.best_step = step, step if best else 3
    save(one, run, keep_last)


def names(run: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints_of(run)]
