"""A budget of time as it is written on a command line."""

import re
from collections.abc import Sequence

from clearhead.config import shown
from clearhead.errors import UsageError

LONGEST = 1e7  # minutes, as of train.max_minutes
_PARTS = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)h)?(?:([0-9]+(?:\.[0-9]+)?)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?", re.IGNORECASE)


def minutes_of(text: str) -> float:
    """Returns the minutes of ``20m``, ``1h30m`` or ``90s``.

    Raises:
        UsageError: it is no such time, or none at all.
    """
    match = _PARTS.fullmatch("".join(text.split()))
    if not match or not any(match.groups()):
        raise UsageError(f"--budget {shown(text)}: expected a time such as 20m, 1h30m or 90s")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = 60 * hours + minutes + seconds / 60
    if not 0 < total <= LONGEST:
        raise UsageError(f"--budget {shown(text)}: must be more than 0, and at most {LONGEST:,.0f} minutes")
    return total


def with_budget(changes: Sequence[str], budget: str) -> list[str]:
    """Returns changes of a recipe that give the run a budget.

    It is ``train.max_minutes``. The recipe's own ``train.max_steps`` then bounds nothing; where one of the changes
    names it, what comes first does.

    Raises:
        UsageError: it is no time, or there is a change of ``train.max_minutes`` too.
    """
    keys = {change.partition("=")[0].strip() for change in changes}
    if "train.max_minutes" in keys:
        raise UsageError("--budget, --set train.max_minutes: are the same; leave one out")
    lifted = [] if "train.max_steps" in keys else ["train.max_steps=0"]
    return [*changes, f"train.max_minutes={minutes_of(budget)!r}", *lifted]
