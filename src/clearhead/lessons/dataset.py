"""What a data set holds in memory, and how often it is asked: by batch size, by workers, item by item or in batches.

``DataLoader`` asks a data set for items, or for a whole batch where the data set has ``__getitems__``. What an item
costs is the data set's own business. A file can be mapped: the system brings a page of it into memory when it is read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from clearhead.data.encoded import map_file
from clearhead.data.loading import load
from clearhead.drawing.report import Part, Table, amount
from clearhead.lessons.lesson import Claims, Say

LIMITS = {"rows": (64, 4096), "batch_sizes": (1, 64), "workers": (1, 2)}
MOST_WORKERS = LIMITS["workers"][1]
READS, READ = 100, 128  # how often the mapped file is read, and bytes of a read
MEMORY = ("file", "opened", "read", "touched")
PAGES = Path("/proc/self/smaps")  # where Linux says which pages of a file are in memory


class Items(Dataset[Tensor]):
    """Rows of numbers, one at a time. Counts how often it is asked, by this process and by each worker."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.calls = torch.zeros(1 + MOST_WORKERS, dtype=torch.int64).share_memory_()  # one memory for all processes
        self.own = 0  # an ordinary attribute

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: Any) -> Tensor:
        worker = get_worker_info()
        self.calls[0 if worker is None else 1 + worker.id] += 1
        self.own += 1
        return self.table[index]


class Batched(Items):
    """Rows that can be asked for together, as a data set of Hugging Face Datasets can."""

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        """Returns several rows."""
        return list(self[indices])


@dataclass(frozen=True)
class Counts:
    """How often data sets were asked in an epoch."""

    rows: int
    batch_sizes: list[int]
    calls: dict[str, list[int]]
    """By kind of data set, for each batch size."""
    by_worker: list[int]
    """Of ``__getitem__`` by each worker."""
    seen: int
    """What the attribute of the data set in this process says after the workers have run."""
    same: bool
    """Whether the batches are those that come without workers."""
    memory: dict[str, int]
    """Bytes of a mapped file: in all, in memory after it was mapped, read then, in memory after that."""


def run(*, rows: int = 512, batch_sizes: tuple[int, ...] = (1, 8, 64), workers: int = 2, seed: int = 0) -> Counts:
    """Loads an epoch from each kind of data set; maps the largest file of PyTorch and reads a few rows of it."""
    torch.manual_seed(seed)
    table = torch.randint(1000, (rows, 16))
    calls: dict[str, list[int]] = {"item": [], "items": [], "batch": []}
    for size in batch_sizes:
        kinds = {"item": Items(table), "items": Batched(table), "batch": Items(table.split(size))}
        for name, kind in kinds.items():
            take(load(kind) if name == "batch" else DataLoader(kind, batch_size=size))
            calls[name].append(int(kind.calls.sum()))
    shared = Items(table)
    batches = take(DataLoader(shared, batch_size=batch_sizes[-1], num_workers=workers))
    same = all(map(torch.equal, batches, table.split(batch_sizes[-1])))
    by_worker = shared.calls[1 : 1 + workers].tolist()
    return Counts(rows, list(batch_sizes), calls, by_worker, shared.own, same, mapped())


def take(batches: Iterable[Tensor]) -> list[Tensor]:
    """Reads an epoch."""
    return [batch.clone() for batch in batches]  # what a worker sends lies in memory that it shares


def mapped() -> dict[str, int]:
    """Maps a file that is everywhere, the largest of PyTorch, and reads it here and there."""
    path = max(Path(torch.__file__).with_name("lib").iterdir(), key=lambda file: file.stat().st_size)
    with map_file(path) as whole:
        opened = resident(path)
        read = sum(len(whole[start : start + READ]) for start in range(0, len(whole), len(whole) // READS))
        return dict(zip(MEMORY, (len(whole), opened, read, resident(path)), strict=True))


def resident(path: Path) -> int:
    """Returns how many bytes of a file that is mapped for reading are in memory; -1 if the system is not Linux."""
    if not PAGES.exists():
        return -1
    kilobytes, ours = 0, False
    for line in PAGES.read_text(errors="replace").splitlines():
        first, *others = line.split()
        if not first.endswith(":"):  # a mapping begins: its addresses, rights (r--s: shared, to read), its file
            ours = others[0] == "r--s" and line.endswith(str(path.resolve()))
        elif ours and first == "Rss:":
            kilobytes += int(others[0])
    return 1024 * kilobytes


def check(measured: Counts) -> Claims:
    """Returns whether each sentence of the answer holds."""
    batches = [-(-measured.rows // size) for size in measured.batch_sizes]
    whole, opened, read, touched = (measured.memory[name] for name in MEMORY)
    return {
        "items": measured.calls["item"] == [measured.rows] * len(batches),
        "batches": measured.calls["items"] == batches,
        "here": measured.calls["batch"] == batches,
        "workers": sum(measured.by_worker) == measured.rows and min(measured.by_worker) > 0 and measured.same,
        "copies": measured.seen == 0 < max(measured.by_worker),
        "mapped": opened <= 0,
        "pages": opened < 0 or read <= touched < 0.5 * whole,
    }


def facts(measured: Counts) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    return {
        "guess": str(measured.calls["item"][-1]),
        "rows": str(measured.rows),
        "size": str(measured.batch_sizes[-1]),
        "batches": str(measured.calls["items"][-1]),
        "workers": str(len(measured.by_worker)),
        "by_worker": " + ".join(map(str, measured.by_worker)),
        "seen": str(measured.seen),
    } | {name: amount(count) for name, count in measured.memory.items()}


def show(measured: Counts, say: Say) -> list[Part]:
    """Returns how often data sets were asked, and what of the mapped file was in memory."""
    columns = (say("kind"), *(f">{say('size')} {size}" for size in measured.batch_sizes))
    calls = [(say(kind), *map(str, counts)) for kind, counts in measured.calls.items()]
    memory = [(say(name), amount(count)) for name, count in measured.memory.items()]
    return [Table(say("calls"), columns, calls), Table(say("memory"), (say("moment"), f">{say('bytes')}"), memory)]
