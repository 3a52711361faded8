"""The training loop: yields events, owns no data, no model and no screen."""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import nn

from clearhead.errors import ClearheadError, ModelError
from clearhead.optim.build import OptimConfig
from clearhead.training.arrangement import for_all_processes, is_sharded, sums_of
from clearhead.training.config import TrainConfig, ValidationConfig
from clearhead.training.device import enough_memory
from clearhead.training.distributed import Engine, LossModule, ranks
from clearhead.training.events import (
    Evaluated,
    Event,
    Finished,
    Reason,
    Sized,
    Skipped,
    Stepped,
)
from clearhead.training.failure import Divergence, Failure, save_failure
from clearhead.training.generators import seed_generators
from clearhead.training.length.budget import Pacer, scheduled
from clearhead.training.precision import Precision
from clearhead.training.samples.making import Sampling, no_samples, samples_by
from clearhead.training.saving import Saver
from clearhead.training.state import TrainState
from clearhead.training.step import LossFunction, Outcome, SizedBatch, target_count, train_step

B = TypeVar("B", bound=SizedBatch)


def everything_learns(model: nn.Module, step: int) -> None:
    """The default of ``Work.ready``: the same parts learn at every step."""


def unknown_lines(batch: object) -> str:
    """The default of ``Work.where``: nothing is known about the lines of a batch."""
    return ""


def never() -> bool:
    """The default of ``should_stop``."""
    return False


@dataclass(frozen=True)
class Work(Generic[B]):
    """What a task hands to the loop."""

    batches: Callable[[int, int], Iterator[B]]
    """(epoch, start) -> that epoch's batches from number ``start`` on; the order depends on the seed alone."""
    loss_of: LossFunction[B]
    """Batch -> (sum, count), on the model in training."""
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    """Model -> scores on the valid split, ``loss`` among them."""
    weight_of: Callable[[B], float] = target_count
    """Batch -> its part of the divisor: the summed loss of a step is divided by the sum of these."""
    ready: Callable[[nn.Module, int], object] = everything_learns
    """(model, step): freezes and unfreezes parts for that step, by these two alone; the model is in training mode."""
    where: Callable[[B], str] = unknown_lines
    """Batch -> which lines of the text its rows come from, in a few words."""
    sample: Sampling = no_samples
    """Model -> what it makes of a few lines of the valid split, and their scores; see ``Sampled``."""


def train_loop(
    state: TrainState,
    work: Work[B],
    run: Path,
    train: TrainConfig,
    *,
    optim: OptimConfig,
    validation: ValidationConfig,
    should_stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Trains until a limit, an early stop or ``should_stop``, and yields what happens.

    The last step is evaluated and saved. After an interruption it is only saved; the evaluation follows on resuming. An
    interruption ends a running evaluation too, unless the weights are sharded over processes.

    Args:
        state: where to start; changed in place.
        work: batches, loss and evaluation.
        run: directory that gets the checkpoints.
        train: how long to train, and how often to evaluate and to save.
        optim: schedule and clipping.
        validation: what decides on the best checkpoint and on stopping early.
        should_stop: asked after each step and in an evaluation; True saves and ends the loop.
    """
    saver, pacer = Saver(run, train.keep_last), Pacer(train, state)
    saver.repair_best(state)
    yield from _told(state, pacer.begin(state.step))
    state.max_steps = pacer.last
    try:
        with enough_memory(train):
            reason = yield from _train(state, work, saver, pacer, optim, validation, should_stop)
        yield from saver.wait(last=True)
        pacer.tick()
    except (Exception, GeneratorExit):  # not KeyboardInterrupt: a second Ctrl-C is not made to wait
        with contextlib.suppress(ClearheadError):
            saver.wait()
        raise
    yield Finished(state.step, reason)


def _told(state: TrainState, decided: Iterable[Sized]) -> Iterator[Sized]:
    """Yields what was decided about the length of the run, and keeps it in ``state``."""
    for sized in decided:
        state.max_steps = sized.last
        yield sized


def _train(
    state: TrainState,
    work: Work[B],
    saver: Saver,
    pacer: Pacer,
    optim: OptimConfig,
    validation: ValidationConfig,
    should_stop: Callable[[], bool],
) -> Generator[Event, None, Reason]:
    train = pacer.train
    reason = _limit_reached(state, pacer, should_stop) or _early_stop(state, validation)
    if _owes_evaluation(state, train, reason):
        reason = yield from _evaluated_and_saved(state, work, saver, pacer, validation, should_stop, reason)
    divergence = Divergence()
    while reason is None:
        for event in _epoch(state, work, saver.run, pacer, optim):
            yield event
            yield from divergence.see(event)
            yield from saver.poll()
            yield from _told(state, pacer.decide(state.step, saver.seconds))
            reason = _limit_reached(state, pacer, should_stop)
            if isinstance(event, Skipped) and reason is None:
                continue
            due = _due(state.step, train.evaluate_every, reason) or pacer.wants_evaluation
            if due and reason != "interrupted":
                reason = yield from _evaluated_and_saved(state, work, saver, pacer, validation, should_stop, reason)
            elif _due(state.step, train.checkpoint_every, reason):
                yield from saver.save(state)
            if reason:
                break
        else:
            state.epoch, state.position = state.epoch + 1, 0
    return reason


def _evaluated_and_saved(
    state: TrainState,
    work: Work[B],
    saver: Saver,
    pacer: Pacer,
    validation: ValidationConfig,
    should_stop: Callable[[], bool],
    reason: Reason | None,
) -> Generator[Event, None, Reason | None]:
    """Evaluates, then saves; if the evaluation is interrupted, saves without scores, and resuming evaluates first."""
    seed_generators(step_seed(pacer.train.seed, state.step, ranks().rank))  # the same in an evaluation that runs again
    evaluated = _evaluate(state, work, validation, should_stop)
    if evaluated is not None:
        yield evaluated
        yield from samples_by(state, work.sample, compiled=pacer.train.compile)
        pacer.evaluated()
        if reason is None:  # before the checkpoint, which then has what was decided
            yield from _told(state, pacer.decide(state.step, saver.seconds))
    yield from saver.save(state)
    if evaluated is None:
        return "interrupted"
    return reason or _limit_reached(state, pacer, should_stop) or _early_stop(state, validation)


def _owes_evaluation(state: TrainState, train: TrainConfig, reason: Reason | None) -> bool:
    """True if the resumed checkpoint was saved on interruption, before its due evaluation ran."""
    evaluated = state.evaluated_step == state.step
    return not evaluated and reason != "interrupted" and _due(state.step, train.evaluate_every, reason)


def _due(step: int, every: int, reason: Reason | None) -> bool:
    return reason is not None or (every > 0 and step % every == 0)


def _early_stop(state: TrainState, validation: ValidationConfig) -> Reason | None:
    patient = not validation.patience or state.evaluations_since_best < validation.patience
    return None if patient else "early_stop"


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Returns the seed of all random numbers within a step on one process, from the recipe's seed and these alone."""
    numbers = [seed, step, rank] if rank else [seed, step]
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _epoch(
    state: TrainState, work: Work[B], run: Path, pacer: Pacer, optim: OptimConfig
) -> Iterator[Stepped | Skipped]:
    train = pacer.train
    batches = work.batches(state.epoch, state.position)
    precision, engine = precision_of(state, train), engine_of(state, work)
    precision.load_state(state.scaler)
    started = time.perf_counter()
    while group := list(islice(batches, train.grad_accum_steps)):
        step = state.step + 1
        seed_generators(step_seed(train.seed, step, engine.ranks.rank))
        lr = state.optimizers.set_lr_factor(scheduled(step, train, optim, state.sizing))
        clip = optim.grad_clip_norm
        outcome = step_on(state, group, work, step, grad_clip_norm=clip, precision=precision, engine=engine)
        if outcome.taken and state.ema is not None:
            state.ema.update_parameters(state.model)
        state.position, state.scaler = state.position + len(group), precision.state()
        state.step, state.skipped = (step, 0) if outcome.taken else (state.step, state.skipped + 1)
        (tokens,) = engine.ranks.sum(float(sum(batch.target_count for batch in group)))
        (seconds,) = engine.ranks.of_first(time.perf_counter() - started)
        pacer.stepped()
        if outcome.taken:
            yield Stepped(step, state.epoch, outcome.loss, lr, outcome.grad_norm, int(tokens), seconds)
        else:
            where = "; ".join(filter(None, engine.ranks.texts("; ".join(filter(None, map(work.where, group))))))
            yield Skipped(step, state.epoch, outcome.loss, outcome.grad_norm, state.skipped, where, seconds)
            if state.skipped >= train.max_skipped_steps:
                _save_failed_step(
                    run, state, work, group, outcome, seed=step_seed(train.seed, step, engine.ranks.rank), where=where
                )
                raise _never_finite(outcome, step, state.skipped, run)
        started = time.perf_counter()


def _save_failed_step(
    run: Path, state: TrainState, work: Work[B], group: Sequence[B], outcome: Outcome, *, seed: int, where: str
) -> None:
    """Saves the failed step for ``replay``, from the first process whose own loss is not finite."""
    (total,) = ranks().sum(float(sum(work.weight_of(batch) for batch in group if batch.target_count)))
    bad = [rank for rank, text in enumerate(ranks().texts("" if math.isfinite(outcome.own_loss) else "bad")) if text]
    failure = Failure(state.step + 1, seed, outcome.loss, outcome.grad_norm, total, where, group)
    save_failure(run, state.model, failure, writes=ranks().rank == (bad or [0])[0])


def _never_finite(outcome: Outcome, step: int, times: int, run: Path) -> ModelError:
    return ModelError(
        f"step {step}: loss {outcome.loss} with gradient norm {outcome.grad_norm}, not finite {times} times in a row; "
        f"lower train.lr or raise train.warmup_steps; the batch is kept: clearhead replay {run} says where it begins"
    )


def engine_of(state: TrainState, work: Work[B]) -> Engine:
    """Returns what computes the gradients of a step over all processes."""
    if state.loss_module is None:
        state.loss_module = LossModule(state.model)
    changing = work.ready is not everything_learns
    state.loss_module = for_all_processes(state.loss_module, changing=changing)
    return Engine(state.loss_module, ranks(), sums_of(state.loss_module))


def precision_of(state: TrainState, train: TrainConfig) -> Precision:
    """Returns the recipe's precision on the device that the model is on."""
    return Precision(train.numbers, next(state.model.parameters()).device.type)


def step_on(
    state: TrainState,
    group: Sequence[B],
    work: Work[B],
    step: int,
    *,
    grad_clip_norm: float,
    precision: Precision,
    engine: Engine,
) -> Outcome:
    """Takes step number ``step`` on the batches of ``group``; learning rates are set already."""
    model = state.model.train()
    work.ready(model, step)
    return train_step(
        model,
        group,
        work.loss_of,
        state.optimizers,
        grad_clip_norm=grad_clip_norm,
        weight_of=work.weight_of,
        precision=precision,
        engine=engine,
    )


def _limit_reached(state: TrainState, pacer: Pacer, should_stop: Callable[[], bool]) -> Reason | None:
    (stopped,) = ranks().sum(float(should_stop()))
    return "interrupted" if stopped else pacer.reached(state.step)


class _AbandonedError(Exception):
    """The evaluation was interrupted."""


@contextmanager
def _asking(model: nn.Module, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Within the block, ``model`` asks ``should_stop`` before each of its parts computes.

    Raises:
        _AbandonedError: a process is to stop. An evaluation changes no state, so that it can be left anywhere.
    """

    def ask(module: nn.Module, args: object) -> None:
        (stopped,) = ranks().sum(float(should_stop()))
        if stopped:
            raise _AbandonedError

    handles = [part.register_forward_pre_hook(ask) for part in model.children()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _evaluate(
    state: TrainState, work: Work[B], validation: ValidationConfig, should_stop: Callable[[], bool]
) -> Evaluated | None:
    """Evaluates the model of this step; None if it was interrupted, and nothing has changed."""
    # not to be interrupted: FSDP gives gathered weights back only at the end of a forward pass; and processes whose
    # translations differ in length would ask a different number of times, and wait for each other
    runs_through = is_sharded(state.loss_module) or (ranks().world > 1 and validation.monitor == "bleu")
    try:
        with contextlib.nullcontext() if runs_through else _asking(state.evaluated_model, should_stop):
            return _score(state, work, validation)
    except _AbandonedError:
        return None


def _score(state: TrainState, work: Work[B], validation: ValidationConfig) -> Evaluated:
    started = time.perf_counter()
    model = state.evaluated_model.eval()
    loss_module = state.loss_module if state.ema is None else state.evaluated_loss_module
    evaluate = partial(work.evaluate, model)
    with torch.inference_mode():
        through_shards = loss_module is not None and is_sharded(state.loss_module)
        scores = dict(loss_module(evaluate) if loss_module is not None and through_shards else evaluate())
    # the last bits may differ between processes: those of the first one count
    state.scores = dict(zip(scores, ranks().of_first(*scores.values()), strict=True))
    score = state.scores[validation.monitor] * (-1 if validation.monitor == "loss" else 1)
    state.evaluated_step = state.step
    best = state.best_score is None or score > state.best_score
    if best:
        state.best_score, state.best_step, state.evaluations_since_best = score, state.step, 0
    else:
        state.evaluations_since_best += 1
    (seconds,) = ranks().of_first(time.perf_counter() - started)
    return Evaluated(state.step, state.scores, best, seconds)
