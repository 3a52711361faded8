"""Flips bits of and cuts off every file of a checkpoint: a clear error each time, and the file's name in it."""

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from clearhead.checkpoint import load_checkpoint
from clearhead.errors import ModelError


@dataclass
class Damaged:
    """What came of it."""

    files: int = 0
    flips: int = 0
    cuts: int = 0
    slowest: float = 0.0
    """Seconds until the error."""
    wrong: list[str] = field(default_factory=list)
    """What loaded, or ended otherwise than in one line."""


def damage(path: Path, places: int, rng: random.Random) -> Damaged:
    """Damages each file of the checkpoint at ``path`` at ``places`` places in two ways, one at a time."""
    found = Damaged()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        whole, name = file.read_bytes(), file.relative_to(path).as_posix()
        found.files += 1
        for _ in range(places):
            bit = rng.randrange(8 * len(whole))
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            file.write_bytes(content)
            found.flips += 1
            _load(path, f"{name}, bit {bit}", name, found)
        for _ in range(places):
            size = rng.randrange(len(whole))
            file.write_bytes(whole[:size])
            found.cuts += 1
            _load(path, f"{name}, cut to {size}", name, found)
        file.write_bytes(whole)
    load_checkpoint(path)
    return found


def _load(path: Path, what: str, name: str, found: Damaged) -> None:
    started = time.monotonic()
    try:
        load_checkpoint(path)
        found.wrong.append(f"{what}: loaded")
    except ModelError as error:
        line = str(error)
        # a flip in the manifest names the file whose entry it is in, or the manifest
        if "\n" in line or (name != "manifest.json" and name not in line):
            found.wrong.append(f"{what}: {line}")
    except Exception as error:  # anything else is what this looks for
        found.wrong.append(f"{what}: {type(error).__name__}: {error}")
    found.slowest = max(found.slowest, time.monotonic() - started)
