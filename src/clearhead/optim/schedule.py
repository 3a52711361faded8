"""Learning-rate schedules: pure functions of the step, so that a resumed run needs no schedule state."""

import math
from typing import Literal

ScheduleName = Literal["constant", "linear", "inverse_sqrt", "cosine", "cosine_restarts", "one_cycle", "wsd"]


def lr_factor(
    name: ScheduleName,
    step: int | float,
    *,
    warmup_steps: int,
    max_steps: int,
    min_factor: float = 0.0,
    cycle_steps: int = 0,
    decay_fraction: float = 0.2,
) -> float:
    """Returns the factor of the peak learning rate at ``step`` (counted from 1).

    All but ``one_cycle`` rise linearly over ``warmup_steps`` and then:

    - constant: stay.
    - linear: fall to min_factor at max_steps.
    - inverse_sqrt: fall as 1/sqrt(step) (Noam, Vaswani et al. 2017, scaled so that the peak is 1).
    - cosine: fall as half a cosine to min_factor (Loshchilov and Hutter 2017, arXiv:1608.03983).
    - cosine_restarts: fall like cosine in each of several cycles; the first has ``cycle_steps``, each next one twice
      as many.
    - wsd: stay, then fall linearly over the last ``decay_fraction`` (Hu et al. 2024, arXiv:2404.06395).

    ``one_cycle`` rises from 1/25 to 1 over ``warmup_steps`` and then falls to 1e-4, both as half cosines (Smith and
    Topin 2018).

    Args:
        name: the schedule.
        step: optimizer step, from 1; with a fraction where a schedule is stretched.
        warmup_steps: steps of the rise.
        max_steps: the run's last step.
        min_factor: factor at the end of linear, cosine, wsd and each cycle of cosine_restarts.
        cycle_steps: steps of the first cycle of cosine_restarts; 0 means a seventh of the steps after warm-up, which
            makes three cycles.
        decay_fraction: share of max_steps, at the end, in which wsd falls.
    """
    if name == "one_cycle":
        return _one_cycle(step, max(warmup_steps, 1), max_steps)
    if step < warmup_steps:
        return step / warmup_steps
    after, span = step - warmup_steps, max(max_steps - warmup_steps, 1)
    match name:
        case "constant":
            return 1.0
        case "linear":
            return _between(1.0, min_factor, min(after / span, 1.0))
        case "inverse_sqrt":
            return math.sqrt(max(warmup_steps, 1) / max(step, 1))
        case "cosine":
            return _cosine(1.0, min_factor, min(after / span, 1.0))
        case "cosine_restarts":
            return _cosine(1.0, min_factor, _cycle_position(after, cycle_steps or -(-(span + 1) // 7)))
        case "wsd":
            fall = max(round(decay_fraction * max_steps), 1)
            return _between(1.0, min_factor, min(max(step - (max_steps - fall), 0) / fall, 1.0))


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def _cycle_position(after: int | float, length: int) -> float:
    while after >= length:
        after, length = after - length, 2 * length
    return after / length


def _one_cycle(step: int | float, rise: int, max_steps: int) -> float:
    if step < rise:
        return _cosine(1 / 25, 1.0, step / rise)
    return _cosine(1.0, 1e-4, min((step - rise) / max(max_steps - rise, 1), 1.0))
