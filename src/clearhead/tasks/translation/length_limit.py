"""How long a translation may be: by the pieces of its source, as the training text has it."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clearhead.config import parse
from clearhead.errors import ModelError, UsageError
from clearhead.files import read_json
from clearhead.ranges import Count, Ratio

if TYPE_CHECKING:
    from clearhead.data.corpus import CorpusReport

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


@dataclass(frozen=True)
class PairsReport:
    """What became of the lines of the training text, and the length limit that follows from them."""

    corpus: "CorpusReport"
    limit: LengthLimit
    most: int
    """Positions of the model, which bound every translation too."""
    over: int
    """References that do not fit."""

    @classmethod
    def of(cls, corpus: "CorpusReport", lengths: tuple[Lengths, Lengths], most: int) -> "PairsReport":
        """Reports on pairs with these lengths for a model with ``most`` positions."""
        src, tgt = lengths
        limit = LengthLimit.of(src, tgt)
        room = np.minimum(np.ceil(limit.ratio * src) + limit.spare, most)
        return cls(corpus, limit, most, int((tgt + 1 > room).sum()))

    def lines(self) -> list[str]:
        """See ``Report``."""
        rule = f"{self.limit.ratio:g} pieces for each of the source and {self.limit.spare} more, at most {self.most}"
        dropped = self.corpus.dropped.get("too_long", 0)
        more = f", besides the {dropped:,} pairs dropped as too long" if dropped else ""
        fit = f"{self.over:,} of {self.corpus.pairs:,} references do not fit{more}"
        return [*self.corpus.lines(), f"  length limit of translations: {rule}; {fit}"]

    def as_dict(self) -> dict[str, Any]:
        """See ``Report``."""
        limit = {**asdict(self.limit), "most": self.most, "references_over": self.over}
        return {**self.corpus.as_dict(), "length_limit": limit}
