"""How long a translation may be: by the pieces of its source, as the training text has it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.config import parse
from clearhead.errors import ModelError, UsageError
from clearhead.files import read_json
from clearhead.ranges import Count, Ratio

SHARE = 0.99  # of the longer half of the sources have no more pieces out for each piece in than ``ratio``, before room
FIT = 0.999  # of all pairs fit, before room
ROOM = 1.5  # for text that is not that of training
LEAST = 20  # pieces; short sentences differ most

Lengths = NDArray[Any]


@dataclass(frozen=True)
class LengthLimit:
    """Most pieces of a translation; the defaults are those of runs that have not recorded any."""

    ratio: Ratio = 2.0
    """For each piece of the source."""
    spare: Count = LEAST
    """Besides, whatever the source; the end mark is among them."""

    @classmethod
    def of(cls, src: Lengths, tgt: Lengths) -> "LengthLimit":
        """Returns the limit that suits pairs of so many pieces, with room for others."""
        longer = src >= np.median(src)
        ratio = float(np.quantile(tgt[longer] / src[longer], SHARE))
        spare = float(np.quantile(tgt + 1 - ratio * src, FIT))
        return cls(round(ROOM * ratio, 3), max(LEAST, math.ceil(ROOM * spare)))

    @classmethod
    def read(cls, run: Path) -> "LengthLimit":
        """Reads what the training of a run has recorded; runs before it was, and imported ones, have the defaults.

        Raises:
            ModelError: the run's data report is damaged.
        """
        path = run / "data-report.json"
        if not path.exists():
            return cls()
        train = read_json(path).get("train")
        recorded = train.get("length_limit") if isinstance(train, dict) else None
        if recorded is None:
            return cls()
        try:
            return parse(cls, {name: recorded[name] for name in ("ratio", "spare")}, source=repr(str(path)))
        except (UsageError, LookupError, TypeError) as error:
            raise ModelError(f"{str(path)!r} cannot be read: {error}") from error

    def pieces(self, source: int) -> int:
        """Returns the most pieces for a source of so many, end mark included."""
        return math.ceil(self.ratio * source) + self.spare
