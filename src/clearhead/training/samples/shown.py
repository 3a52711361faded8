"""How samples are told: lines for a terminal, a table for TensorBoard, their history for the card of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from clearhead.drawing.screen import visible
from clearhead.training.events import Sampled, SampledLine

MOST_TIMES = 6
"""How many times of each line a card has: the first, the last, and some between."""
CARD_WIDTH = 100
"""Columns of a text in a card."""
NOTHING = "∅"
"""What stands for an empty text."""
BREAKS = str.maketrans({"\n": "↵", "\r": "↵", "\t": "⇥", "\x0b": "↵", "\x0c": "↵", "\x85": "↵", "\u2028": "↵"})


def on_one_line(text: str, width: int | None = None) -> str:
    """Returns a text on one line, with signs for its breaks and control characters.

    Args:
        text: any text.
        width: how many columns it may take, East Asian characters take two; None cuts nothing.
    """
    line = visible(text.translate(BREAKS)).strip(" ") or NOTHING
    if width is None:
        return line
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= width else set_cell_size(line, max(width, 2) - 1).rstrip() + "…"


def score_of(line: SampledLine, measure: str) -> str:
    """Returns the score of a sample in a few characters, which are as many for each; empty without one."""
    if line.score is None:
        return ""
    return f"chrF {line.score:3.0f}" if measure == "chrf" else f"{line.score:4.0%}"


def heads(event: Sampled, width: int | None = None) -> list[str]:
    """Returns the lines of a split that samples are of: what is given, and what stands in the split."""
    half = None if width is None else max((width - 9) // 2, 8)
    return [
        f"  {number}  {_named(line)}{on_one_line(line.given, half)} -> {on_one_line(line.wanted, half)}"
        for number, line in enumerate(event.lines, 1)
    ]


def tells(event: Sampled, width: int | None = None, *, numbered: bool = True) -> list[str]:
    """Returns what the model made of each line, the score first."""
    measure, told = next(iter(event.scores), ""), []
    for number, line in enumerate(event.lines, 1):
        head = "  ".join(filter(None, [f"  {number}" if numbered else "   ", score_of(line, measure)]))
        left = None if width is None else width - len(head) - 2
        told.append(f"{head}  {on_one_line(line.made, left)}")
    return told


def markdown(event: Sampled) -> str:
    """Returns the samples as a table, for TensorBoard."""
    measure = next(iter(event.scores), "")
    rows = [["", "given", "wanted", "made", "score"]]
    for number, line in enumerate(event.lines, 1):
        texts = (f"{_named(line)}{line.given}", line.wanted, line.made)
        rows.append([str(number), *map(_in_cell, texts), score_of(line, measure).strip()])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def history(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns how samples changed from evaluation to evaluation, for a card; nothing if there are none.

    Args:
        records: of ``metrics.jsonl``. Those count that are of the same lines as the last ones.
    """
    events = [read_sampled(record) for record in records if record["event"] == "sampled"]
    if not events:
        return []
    same = [event for event in events if _lines_of(event) == _lines_of(events[-1])]
    told: list[str] = []
    for number, line in enumerate(events[-1].lines):
        told += [
            f"{number + 1}  {_named(line)}{on_one_line(line.given, CARD_WIDTH)}",
            f"   = {on_one_line(line.wanted, CARD_WIDTH)}",
        ]
        for event in _some(_changes(same, number)):
            own = event.lines[number]
            score = score_of(own, next(iter(event.scores), ""))
            told.append("  ".join(filter(None, [f"{event.step:>9,}", score, on_one_line(own.made, CARD_WIDTH)])))
    return told


def read_sampled(record: Mapping[str, Any]) -> Sampled:
    """Returns the event that a record of ``metrics.jsonl`` was written from."""
    lines = tuple(SampledLine(**line) for line in record["lines"])
    return Sampled(record["step"], lines, record["scores"], record["seconds"])


def is_sampled(record: Mapping[str, Any]) -> bool:
    """Whether ``read_sampled`` can read a record, which somebody may have edited."""
    lines, scores = record.get("lines"), record.get("scores")
    if not isinstance(lines, list) or not isinstance(scores, dict):
        return False
    return all(isinstance(score, float | int) for score in scores.values()) and all(map(_is_line, lines))


def _is_line(line: Any) -> bool:
    if not isinstance(line, dict) or line.keys() != {field.name for field in fields(SampledLine)}:
        return False
    score, texts = line["score"], (line[name] for name in ("given", "wanted", "made", "source"))
    return all(isinstance(text, str) for text in texts) and isinstance(score, float | int | None)


def _changes(events: Sequence[Sampled], number: int) -> list[Sampled]:
    """Returns the events at which a sample differs from the one before, and the last one."""
    made = [event.lines[number].made for event in events]
    return [event for at, event in enumerate(events) if at in (0, len(events) - 1) or made[at] != made[at - 1]]


def _some(events: list[Sampled]) -> list[Sampled]:
    """Returns at most ``MOST_TIMES`` of them, evenly taken, with the first and the last."""
    last = len(events) - 1
    if last < MOST_TIMES:
        return events
    return [events[round(at * last / (MOST_TIMES - 1))] for at in range(MOST_TIMES)]


def _lines_of(event: Sampled) -> list[tuple[str, str, str]]:
    return [(line.source, line.given, line.wanted) for line in event.lines]


def _named(line: SampledLine) -> str:
    return f"{line.source}: " if line.source else ""


def _in_cell(text: str) -> str:
    """Returns a text that Markdown takes as it is, in a cell of a table."""
    plain = on_one_line(text)
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|~!&" else sign for sign in plain)
