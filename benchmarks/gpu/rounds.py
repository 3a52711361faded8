"""Cases timed in turn in one process; each round's figures are written at once, so that nothing of them is lost."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from card import facts, wait

Row = dict
ROUNDS, MIN_SECONDS = 7, 0.4
SHARE_FOR_ROUNDS = 0.25  # of a part's time that building and compiling leave to the rounds


@dataclass(frozen=True)
class Asked:
    """What a part was asked for, by its command line."""

    rows: Path
    """Gets a line of JSON for each figure, as soon as it is known."""
    device: torch.device
    tiny: bool
    compile: bool
    seconds: float
    data: Path | None
    words: list[str]
    started: float

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.started)

    def write(self, row: Row) -> None:
        with self.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def asked() -> Asked:
    """Reads a part's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    return Asked(
        given.rows,
        torch.device(given.device),
        given.tiny,
        not given.no_compile,
        given.seconds,
        given.data,
        given.words,
        time.perf_counter(),
    )


@dataclass(frozen=True)
class Built:
    """A case that can be timed."""

    step: Callable[[], object]
    units: float
    """Tokens of a step."""
    flops: float = 0.0
    """Of a step; 0 where MFU says nothing."""
    facts: dict | None = None


def run(part: str, unit: str, cases: dict[str, Callable[[], Built]], given: Asked, *, first: str) -> None:
    """Builds and warms up each case, then times them in turn; a case that fails is a row that says so.

    Args:
        part: name of the part.
        unit: what is counted.
        cases: name -> what builds it.
        given: the command line.
        first: the case that the others are compared with.
    """
    torch.manual_seed(0)
    peak = facts(given.device, tiny=given.tiny)
    given.write({"part": part, "case": "the card", **peak})
    ready: dict[str, tuple[Built, int, Row]] = {}
    for name, build in cases.items():
        row: Row = {"part": part, "case": name, "unit": unit}
        try:
            if given.left < SHARE_FOR_ROUNDS * given.seconds:
                raise TimeoutError("no time was left to build it")
            ready[name] = warmed(build, row, given, peak["peak"])
        except Exception as error:  # a case that fails is a result; the others go on
            given.write(row | {"error": f"{type(error).__name__}: {error}"[:600]})
    rates: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(2 if given.tiny else ROUNDS):
        if number and given.left < 0:
            return
        for name, (built, calls, row) in list(ready.items()):
            try:
                rates[name].append(built.units / seconds_of(built.step, calls, given.device))
            except Exception as error:
                given.write(row | {"error": f"{type(error).__name__}: {error}"[:600]})
                del ready[name]
        for name, (built, _, row) in ready.items():
            given.write(row | summary(built, rates[name], rates.get(first, []), peak["peak"]))


def warmed(build: Callable[[], Built], row: Row, given: Asked, peak: float) -> tuple[Built, int, Row]:
    """Builds a case, takes its first steps, writes their figures, and says how many calls a round has."""
    on_gpu, before = given.device.type == "cuda", 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    started = time.perf_counter()
    built = build()
    built.step()
    wait(given.device)
    row |= {"first_seconds": round(time.perf_counter() - started, 2), **(built.facts or {})}
    built.step()  # sizes that differ from those before are compiled with open sizes by now
    alone = seconds_of(built.step, 1, given.device)
    if on_gpu:
        row["peak_mb"] = round((torch.cuda.max_memory_allocated() - before) / 1e6)
    given.write(row | summary(built, [built.units / alone], [], peak))  # for when a later case takes all the time
    return built, 1 if given.tiny else max(1, round(MIN_SECONDS / alone)), row


def seconds_of(step: Callable[[], object], calls: int, device: torch.device) -> float:
    """Returns how long a call takes; nothing is left running before the clock starts and when it stops."""
    wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        step()
    wait(device)
    return (time.perf_counter() - started) / calls


def summary(built: Built, rates: list[float], others: list[float], peak: float) -> Row:
    """Returns the median and what follows from it."""
    median = statistics.median(rates)
    row = {"median": median, "min": min(rates), "max": max(rates), "n": len(rates)}
    if built.flops:
        row["mfu"] = median / built.units * built.flops / peak / 1e12
    if others:
        row["first over this"] = statistics.median(others) / median
    return row
