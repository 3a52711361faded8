"""Kills training again and again: a run that was killed and went on must be the run that was never killed.

    python -m tests.reliability.campaign [--kills 500] [--places 200] [--folder FOLDER] [--seed 0]

Prints a line for each run and ends with a table; exit status 1 if a checkpoint was lost, a bit differed, a process hung
or failed, or damage went unseen. ``--kills 12 --places 10`` is the short form, which the tests run.
"""

import os

# before torch is loaded: a process that has used more threads cannot be forked
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from clearhead.errors import ModelError
from clearhead.runs.pointers import find_checkpoint
from tests.reliability.damage import Damaged, damage
from tests.reliability.families import RECIPES, write_family
from tests.reliability.faults import Fault
from tests.reliability.process import Place, newest_step, outcome, train_in_child


@dataclass
class Case:
    """What came of one family with one number of workers."""

    family: str
    workers: int
    kills: int = 0
    signals: int = 0
    """Interruptions that were answered with a checkpoint."""
    runs: int = 0
    """Runs that came to their end, and were compared."""
    lost: list[str] = field(default_factory=list)
    """Checkpoints that ``latest`` named and that did not load after a death, or went back."""
    different: list[str] = field(default_factory=list)
    """Parts of runs that are not those of the run that was never killed."""
    failed: list[str] = field(default_factory=list)
    """Processes that ended by an error or hung."""
    points: Counter[str] = field(default_factory=Counter)
    """Where it was killed."""

    @property
    def good(self) -> bool:
        """Nothing was lost, different or failed."""
        return not (self.lost or self.different or self.failed)


def try_case(case: Case, folder: Path, kills: int, rng: random.Random) -> Path:
    """Kills runs of a case ``kills`` times; returns a run that came to its end."""
    recipe, data = write_family(folder, case.family, workers=case.workers)
    whole = Place(recipe, data, folder / "whole")
    how, seconds = train_in_child(whole)
    if how != "done":
        case.failed.append(f"the run that is not killed: {how}\n{whole.log.read_text()}")
        return whole.run
    expected = outcome(whole)
    while case.kills < kills and case.good:
        place = Place(recipe, data, folder / f"run-{case.runs:03d}")
        _run_to_its_end(case, place, seconds, rng)
        if not case.failed:
            found = outcome(place)
            case.different += [
                f"{place.run.name} {part}: {found.get(part)!r:.200} is not {expected.get(part)!r:.200}"
                for part in expected.keys() | found.keys()
                if found.get(part) != expected.get(part)
            ]
        case.runs += 1
        if case.good:
            shutil.rmtree(place.run)
    return whole.run


def _run_to_its_end(case: Case, place: Place, seconds: float, rng: random.Random) -> None:
    """Trains, kills and trains again until the run is done."""
    kept = -1
    for _ in range(60):
        fault = Fault.draw(rng, seconds=seconds)
        how, _ = train_in_child(place, fault)
        if how == "failed":
            case.failed.append(f"{place.run.name}, {fault}\n{place.log.read_text()[-3000:]}")
            return
        if how == "done":
            return
        case.kills += how == "killed"
        case.signals += how == "interrupted"
        case.points[f"{fault.point} {fault.when}" if fault.point not in ("clock", "signal") else fault.point] += 1
        try:
            now = newest_step(place.run)
            if now < kept:
                case.lost.append(f"{place.run.name}, {fault}: back from step {kept} to {now}")
            kept = now
        except ModelError as error:
            case.lost.append(f"{place.run.name}, {fault}: {error}")
    how, _ = train_in_child(place)  # deaths enough
    if how != "done":
        case.failed.append(f"{place.run.name}: {how}\n{place.log.read_text()[-3000:]}")


def campaign(folder: Path, *, kills: int, places: int, seed: int) -> dict[str, Any]:
    """Runs the cases among which ``kills`` are divided; returns what came of them as JSON values."""
    torch.set_num_threads(1)
    started, rng = time.monotonic(), random.Random(seed)
    cases = [Case(family, workers) for family in RECIPES for workers in (0, 2)]
    damaged: dict[str, Damaged] = {}
    for number, case in enumerate(cases):
        share = kills * (number + 1) // len(cases) - kills * number // len(cases)
        if not share:
            continue
        run = try_case(case, folder / f"{case.family}-{case.workers}", share, rng)
        path = find_checkpoint(run, "latest")
        if case.family not in damaged and path is not None:
            damaged[case.family] = damage(path, places, rng)
        _say(f"{case.family}, {case.workers} workers: {case.kills} kills, {case.signals} signals, {case.runs} runs")
        for problem in [*case.lost, *case.different, *case.failed, *(damaged[case.family].wrong if path else [])]:
            _say(f"  WRONG {problem}")
    points = sum((case.points for case in cases), Counter())
    return {
        "kills": sum(case.kills for case in cases),
        "signals": sum(case.signals for case in cases),
        "runs": sum(case.runs for case in cases),
        "lost": sum(len(case.lost) for case in cases),
        "different": sum(len(case.different) for case in cases),
        "failed": sum(len(case.failed) for case in cases),
        "points": dict(sorted(points.items())),
        "damaged": {name: asdict(found) for name, found in damaged.items()},
        "unseen": sum(len(found.wrong) for found in damaged.values()),
        "seconds": round(time.monotonic() - started, 1),
    }


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> int:
    """Reads the command line, runs the campaign, prints what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--places", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        os.environ["CLEARHEAD_CACHE"] = str(folder / "cache")
        found = campaign(folder, kills=given.kills, places=given.places, seed=given.seed)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if any(found[name] for name in ("lost", "different", "failed", "unseen")) else 0


if __name__ == "__main__":
    sys.exit(main())
