"""What became of the lines of a parallel corpus: how many were kept, and why the others were dropped."""

from dataclasses import asdict, dataclass, field
from typing import Any

from clearhead.text.special import SPECIAL_IDS

EXAMPLES = 5  # line numbers that the report gives for each reason to drop lines


@dataclass
class SideReport:
    """Pieces of one side: ``tokens_in == tokens_used + tokens_dropped``; the lengths are over all lines read."""

    tokens_in: int = 0
    tokens_used: int = 0
    tokens_dropped: int = 0
    unknown: int = 0
    p50: int = 0
    p95: int = 0
    longest: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    """The most frequent changes by normalization, ``"old -> new"``, and the number of changed ``"lines"``."""


@dataclass
class CorpusReport:
    """What became of the lines: ``read == kept + sum(dropped.values())``; the kept lines became ``pairs`` pairs."""

    read: int = 0
    kept: int = 0
    pairs: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[int]] = field(default_factory=dict)
    truncated: int = 0
    split: int = 0
    with_context: int = 0
    """Pairs whose source is read with the line before it; ``context`` of the recipe, see ``DataConfig``."""
    shortened: int = 0
    """Of these, pairs with the last pieces of that line alone, as not all of it fits."""
    without_room: int = 0
    """Pairs that are read without it, as none of it fits."""
    byte_order_marks: list[str] = field(default_factory=list)
    src: SideReport = field(default_factory=SideReport)
    tgt: SideReport = field(default_factory=SideReport)
    digest: str = ""
    """Identifies the text: SHA-256 of both files."""

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "CorpusReport":
        """Restores a report from what ``as_dict`` returned."""
        return cls(**{**tree, "src": SideReport(**tree["src"]), "tgt": SideReport(**tree["tgt"])})

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain dicts, lists and numbers."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        text = [f"{self.read:,} lines read, {self.kept:,} kept as {self.pairs:,} pairs"]
        for reason, count in self.dropped.items():
            shown = ", ".join(map(str, self.examples[reason])) + (", ..." if count > EXAMPLES else "")
            text.append(f"  {count:,} dropped, {reason}: line {shown}")
        if self.truncated or self.split:
            text.append(f"  {self.truncated:,} truncated, {self.split:,} split into sentences")
        if self.with_context or self.without_room:
            cut = f"{self.shortened:,} of these cut at its left, {self.without_room:,} have no room for it"
            text.append(f"  {self.with_context:,} pairs are read with the line before; {cut}")
        text += [f"  byte order mark removed from {name}" for name in self.byte_order_marks]
        for name, side in (("source", self.src), ("target", self.tgt)):
            parts = f"{side.tokens_used:,} used + {side.tokens_dropped:,} dropped"
            text.append(f"  {name}: {side.tokens_in:,} pieces in = {parts}; {side.unknown:,} unknown")
            text.append(f"  {name}: pieces a line: median {side.p50}, 95 % {side.p95}, longest {side.longest}")
            changed = ", ".join(f"{change} {count:,}" for change, count in side.changed.items())
            if changed:
                text.append(f"  {name}: normalized: {changed}")
        return text

    def count(self, src_ids: list[int], tgt_ids: list[int], *, used: bool, unk: int = SPECIAL_IDS.unk) -> None:
        """Counts the pieces of a pair, or of a part of it, as used or dropped; ``unk`` is the unknown piece."""
        for side, ids in ((self.src, src_ids), (self.tgt, tgt_ids)):
            side.tokens_in += len(ids)
            if used:
                side.tokens_used += len(ids)
            else:
                side.tokens_dropped += len(ids)
            side.unknown += ids.count(unk)
