"""What became of the pairs of a training text, and the length limit that follows from them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clearhead.data.corpora.joined import MixtureReport
from clearhead.data.corpora.report import CorpusReport
from clearhead.tasks.translation.length_limit import LengthLimit, Lengths


@dataclass(frozen=True)
class PairsReport:
    """What became of the lines of the training text, and the length limit that follows from them."""

    corpus: CorpusReport | MixtureReport
    limit: LengthLimit
    most: int
    """Positions of the model, which bound every translation too."""
    over: int
    """References that do not fit."""

    @classmethod
    def of(cls, corpus: CorpusReport | MixtureReport, lengths: tuple[Lengths, Lengths], most: int) -> "PairsReport":
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
