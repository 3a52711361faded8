"""Curves in a terminal: strips of blocks, one a curve, all on one scale."""

import math
from collections.abc import Sequence

SPARKS = "▁▂▃▄▅▆▇█"


def ends(values: Sequence[float]) -> tuple[float, float]:
    """Returns the lowest and the highest of the finite values; 0 if there are none."""
    finite = list(filter(math.isfinite, values))
    return min(finite, default=0.0), max(finite, default=0.0)


def strip(values: Sequence[float], columns: int, scale: tuple[float, float], rows: int = 1) -> list[str]:
    """Returns a curve as ``rows`` lines of blocks, the top one first; ``?`` stands where it is not finite.

    Args:
        values: at equal distances.
        columns: of the lines; each shows the value that is nearest to its place.
        scale: the values at the lower and at the upper end, which others may share.
        rows: lines, each with eight heights.
    """
    low, high = scale
    at = [values[round(column * (len(values) - 1) / max(columns - 1, 1))] for column in range(columns)]
    most = rows * len(SPARKS)
    steps = [1 + round((x - low) / ((high - low) or 1.0) * (most - 1)) if math.isfinite(x) else None for x in at]
    return ["".join(_block(step, row) for step in steps) for row in reversed(range(rows))]


def _block(step: int | None, row: int) -> str:
    """Returns what a curve of a height, in steps from 1, shows in a row, from 0 upwards."""
    if step is None:
        return "?" if row == 0 else " "
    inside = min(step - row * len(SPARKS), len(SPARKS))
    return SPARKS[inside - 1] if inside > 0 else " "
