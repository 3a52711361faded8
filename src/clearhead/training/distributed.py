"""Several processes that train one model: how they exchange values, and how one says why another is gone."""

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from clearhead.errors import ClearheadError, ModelError
from clearhead.nn.shards import whole

ANSWER_SECONDS = 3.0  # for a process to answer that it is alive


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, numbered from 0; only process 0 writes files. A single process is rank 0 of 1."""

    rank: int = 0
    world: int = 1
    store: Any = None
    """torch's key-value store that all processes share, for short texts."""

    @property
    def share(self) -> tuple[int, int]:
        """Which rows of a batch are this process's: every ``world``-th from ``rank`` on."""
        return self.rank, self.world

    def sum(self, *values: float) -> list[float]:
        """Returns each value added up over all processes, which all must call this."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        sums: list[float] = total.tolist()
        return sums

    def of_first(self, *values: float) -> list[float]:
        """Returns the values of process 0."""
        return self.sum(*(values if self.rank == 0 else (0.0,) * len(values)))

    def texts(self, text: str) -> list[str]:
        """Returns the text of each process."""
        if self.world == 1:
            return [text]
        texts: list[Any] = [None] * self.world
        dist.all_gather_object(texts, text)
        return texts

    def first_alone(self, work: Callable[[], str]) -> str:
        """Process 0 does ``work`` while the others wait for as long as it takes; all return its result."""
        if self.world == 1:
            return work()
        if self.rank == 0:
            self.store.set("first", work())
        self.store.wait(["first"], timedelta(days=30))
        answer: str = self.store.get("first").decode()
        return answer

    def broadcast(self, model: nn.Module) -> None:
        """Gives all processes the weights and buffers of process 0."""
        if self.world > 1:
            for tensor in [*model.parameters(), *model.buffers()]:
                dist.broadcast(tensor.detach(), 0)


_ALONE = Ranks()
_joined: list[Ranks] = []
_left: list[Any] = []
"""The group of the run before, which must outlive DDP's reducer: that would end it with the interpreter locked, and
wait for threads that need the lock to free tensors. From Python it ends without the lock."""
_runs = itertools.count()


def ranks() -> Ranks:
    """Returns the processes that were joined, or this one alone."""
    return _joined[-1] if _joined else _ALONE


def wanted() -> int:
    """Returns how many processes torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


@contextmanager
def joined(seconds: float) -> Iterator[Ranks]:
    """Joins the processes that torchrun started, and leaves them at the end; one process has nothing to join.

    Args:
        seconds: how long a process waits for the others before it gives up.

    Raises:
        ModelError: another process is gone; the message says which, and why if it left a reason.
    """
    if wanted() == 1 or _joined:
        yield ranks()
        return
    store, rank, world = next(rendezvous("env://", timeout=timedelta(seconds=seconds)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # a prefix of this run's own: the store still has keys of earlier runs and earlier starts of these processes
    number = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}-{next(_runs)}"
    texts = PrefixStore(f"texts-{number}", store)
    processes = Ranks(rank, world, texts)
    limit = timedelta(seconds=seconds)
    dist.init_process_group(
        backend, store=PrefixStore(f"group-{number}", store), rank=rank, world_size=world, timeout=limit
    )
    _joined.append(processes)
    try:
        yield processes
    except ClearheadError as error:
        texts.set(f"reason/{rank}", str(error))
        raise
    except (RuntimeError, dist.DistError) as error:
        with contextlib.suppress(ValueError):  # signals can only be set in the main thread
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends this process too; say why first
        gone = _gone(processes, str(error))
        if gone is None:
            raise
        raise ModelError(gone) from error
    finally:
        _joined.clear()
        if dist.is_initialized():
            _left[:] = [dist.group.WORLD]
            dist.destroy_process_group()


def _gone(processes: Ranks, error: str) -> str | None:
    """Asks, after an exchange failed, which processes are still alive; returns a message, or None if all are."""
    try:
        processes.store.set(f"alive/{processes.rank}", "")
        until = time.monotonic() + ANSWER_SECONDS
        missing = set(range(processes.world))
        while missing and time.monotonic() < until:
            missing = {rank for rank in missing if not processes.store.check([f"alive/{rank}"])}
            time.sleep(0.05)
        reasons = {rank: processes.store.get(f"reason/{rank}").decode() for rank in missing if _said(processes, rank)}
    except (RuntimeError, dist.DistError):
        return f"process {processes.rank}: the others are gone: {error.splitlines()[0]}"
    if not missing:
        return None
    gone = ", ".join(f"{rank} ({reasons.get(rank, 'killed, or its machine is gone')})" for rank in sorted(missing))
    rank, count = processes.rank, processes.world
    return (
        f"process {rank} of {count} stops because others are gone: {gone}; --resume continues from the last checkpoint"
    )


def _said(processes: Ranks, rank: int) -> bool:
    answer: bool = processes.store.check([f"reason/{rank}"])
    return answer


class LossModule(nn.Module):
    """Runs a loss inside its own ``forward``, since DDP and FSDP act on the forward of the module that they wrap.

    Our losses call parts of a model (``hidden``, then the weights of the output layer), never the model as a whole.

    Args:
        model: whose losses run here.
        numbers: makes the context, such as autocast, that everything runs in.
    """

    def __init__(
        self, model: nn.Module, numbers: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    ) -> None:
        super().__init__()
        self.model, self.numbers = model, numbers

    def forward(self, run: Callable[[], Any]) -> Any:
        """Returns the result of ``run``, computed within the context of ``numbers``."""
        with self.numbers():
            return run()


@dataclass(frozen=True)
class Engine:
    """Computes the gradients of a step over all processes."""

    loss_module: nn.Module
    """A ``LossModule``: plain, under DistributedDataParallel, or the root of what FSDP shards."""
    ranks: Ranks = _ALONE
    sharded: Callable[[bool], object] | None = None
    """Tells FSDP whether to sum the next gradients over the processes."""

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        """A batch is computed in this context; gradients are summed over the processes with the last batch only."""
        if isinstance(self.loss_module, nn.parallel.DistributedDataParallel) and not last:
            with self.loss_module.no_sync():
                yield
            return
        if self.sharded is not None:
            self.sharded(last)
        yield

    def __call__(self, run: Callable[[], Any]) -> Any:
        """Returns the result of ``run``, computed inside the loss module."""
        return self.loss_module(run)

    def norm(self, grads: list[Tensor]) -> Tensor:
        """Returns the norm of all gradients together, sharded or not, as a tensor of one number."""
        return whole(nn.utils.get_total_norm(grads))
