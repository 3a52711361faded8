"""Several processes that train one model: what they say to each other, and who says why it ended."""

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

ANSWER_SECONDS = 3.0  # how long those that still live have to say so


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, numbered from 0, which alone writes; one process is all of them."""

    rank: int = 0
    world: int = 1
    store: Any = None
    """Small texts that all can read, kept by who started them."""

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
        found: list[float] = total.tolist()
        return found

    def of_first(self, *values: float) -> list[float]:
        """Returns the values of process 0."""
        return self.sum(*(values if self.rank == 0 else (0.0,) * len(values)))

    def texts(self, text: str) -> list[str]:
        """Returns the text of each process."""
        if self.world == 1:
            return [text]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, text)
        return found

    def first_alone(self, work: Callable[[], str]) -> str:
        """Process 0 does ``work`` while the others wait, as long as it takes; returns what it gave to all of them."""
        if self.world == 1:
            return work()
        if self.rank == 0:
            self.store.set("first", work())
        self.store.wait(["first"], timedelta(days=30))
        found: str = self.store.get("first").decode()
        return found

    def broadcast(self, model: nn.Module) -> None:
        """Gives all processes the weights and buffers of process 0."""
        if self.world > 1:
            for tensor in [*model.parameters(), *model.buffers()]:
                dist.broadcast(tensor.detach(), 0)


_ALONE = Ranks()
_joined: list[Ranks] = []
_runs = itertools.count()


def ranks() -> Ranks:
    """Returns the processes that were joined, or this one alone."""
    return _joined[-1] if _joined else _ALONE


def wanted() -> int:
    """Returns how many processes were started, as torchrun says it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


@contextmanager
def joined(seconds: float) -> Iterator[Ranks]:
    """Joins the processes that torchrun started, and leaves them at the end; one process has nothing to join.

    Args:
        seconds: how long one waits for the others before it gives up.

    Raises:
        ModelError: another process is gone; the message says which, and why if it could say so.
    """
    if wanted() == 1 or _joined:
        yield ranks()
        return
    store, rank, world = next(rendezvous("env://", timeout=timedelta(seconds=seconds)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # what an earlier run, or an earlier start of these processes, has said is still in the store
    number = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}-{next(_runs)}"
    beside = PrefixStore(f"texts-{number}", store)
    found = Ranks(rank, world, beside)
    limit = timedelta(seconds=seconds)
    dist.init_process_group(
        backend, store=PrefixStore(f"group-{number}", store), rank=rank, world_size=world, timeout=limit
    )
    _joined.append(found)
    try:
        yield found
    except ClearheadError as error:
        beside.set(f"reason/{rank}", str(error))
        raise
    except (RuntimeError, dist.DistError) as error:
        with contextlib.suppress(ValueError):  # outside the main thread signals are somebody else's
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends us too: first say why
        gone = _gone(found, str(error))
        if gone is None:
            raise
        raise ModelError(gone) from error
    finally:
        _joined.clear()
        if dist.is_initialized():
            dist.destroy_process_group()


def _gone(found: Ranks, error: str) -> str | None:
    """Returns who does not answer any more, after something between processes failed; None if all do."""
    try:
        found.store.set(f"alive/{found.rank}", "")
        until = time.monotonic() + ANSWER_SECONDS
        missing = set(range(found.world))
        while missing and time.monotonic() < until:
            missing = {rank for rank in missing if not found.store.check([f"alive/{rank}"])}
            time.sleep(0.05)
        reasons = {rank: found.store.get(f"reason/{rank}").decode() for rank in missing if _said(found, rank)}
    except (RuntimeError, dist.DistError):
        return f"process {found.rank}: the others are gone: {error.splitlines()[0]}"
    if not missing:
        return None
    named = ", ".join(f"{rank} ({reasons.get(rank, 'killed, or its machine is gone')})" for rank in sorted(missing))
    return f"process {found.rank} of {found.world} ends: gone is {named}; --resume goes on from the last checkpoint"


def _said(found: Ranks, rank: int) -> bool:
    answer: bool = found.store.check([f"reason/{rank}"])
    return answer


class Inside(nn.Module):
    """Runs what it is given inside its own forward, which is where torch looks after gradients and shards.

    Our losses call parts of a model (``hidden``, then the table of the output layer), never the model as a whole.
    """

    def __init__(
        self, model: nn.Module, numbers: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    ) -> None:
        super().__init__()
        self.model, self.numbers = model, numbers

    def forward(self, run: Callable[[], Any]) -> Any:
        """Returns what ``run`` gives, computed in the numbers of ``numbers``."""
        with self.numbers():
            return run()


@dataclass(frozen=True)
class Engine:
    """Takes the gradients of a step over all processes."""

    inside: nn.Module
    """An ``Inside``, plain, under DistributedDataParallel, or the root of what FSDP shards."""
    ranks: Ranks = _ALONE
    sharded: Callable[[bool], object] | None = None
    """Says to FSDP whether the next gradients are summed."""

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        """In this context a batch is computed; gradients are summed over the processes with the ``last`` of a step."""
        if isinstance(self.inside, nn.parallel.DistributedDataParallel) and not last:
            with self.inside.no_sync():
                yield
            return
        if self.sharded is not None:
            self.sharded(last)
        yield

    def __call__(self, run: Callable[[], Any]) -> Any:
        """Returns what ``run`` gives, computed inside the model."""
        return self.inside(run)

    def norm(self, grads: list[Tensor]) -> float:
        """Returns the norm of all gradients together, wherever their parts are."""
        return float(whole(nn.utils.get_total_norm(grads)))
