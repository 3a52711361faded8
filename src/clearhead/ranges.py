"""The kinds of numbers that settings are: every key of a recipe and every numeric option is one, and has both ends.

The ends are far beyond what anybody trains; they keep a slip of the keyboard, or a hostile file, from hanging or
crashing what it reaches. Whether a model within them fits this machine is asked in ``tasks.room``.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, get_args

from annotated_types import Ge, Gt, Interval, Le, Lt

Size = Annotated[int, Interval(ge=1, le=2**20)]
"""Features, heads or groups."""
Depth = Annotated[int, Interval(ge=1, le=2**11)]
"""Layers of a stack."""
Length = Annotated[int, Interval(ge=1, le=2**24)]
"""Pieces in a row."""
MarkedLength = Annotated[int, Interval(ge=3, le=2**24)]
"""Pieces in a row with a mark on each side."""
Vocabulary = Annotated[int, Interval(ge=1, le=2**22)]
"""Pieces of a vocabulary, or rows of its table."""
LearnedPieces = Annotated[int, Interval(ge=8, le=2**22)]
"""Most pieces of a vocabulary that is learned, special ones included."""
Id = Annotated[int, Interval(ge=-1, lt=2**22)]
"""A piece of a vocabulary; -1 for one that it does not have."""
Order = Annotated[int, Interval(ge=1, le=64)]
"""Pieces of the longest n-gram."""
OrderOrZero = Annotated[int, Interval(ge=0, le=8)]
"""The same of a table whose runs share rows; 0: no table."""
Positions = Annotated[int, Interval(ge=1, le=2**30)]
"""Positions of a batch."""
Rows = Annotated[int, Interval(ge=1, le=2**20)]
"""Rows that are computed at a time."""
Count = Annotated[int, Interval(ge=1, le=10**12)]
"""How many, such as steps of a run."""
CountOrZero = Annotated[int, Interval(ge=0, le=10**12)]
"""How many, where 0 has a meaning of its own."""
Epochs = Annotated[int, Interval(ge=0, le=10**4)]
"""Passes over a text; 0 sets no limit."""
LinesBefore = Annotated[int, Interval(ge=0, le=1)]
"""Lines that are read before one, to understand it."""
Workers = Annotated[int, Interval(ge=0, le=256)]
"""Processes beside the training process."""
Place = Annotated[int, Interval(ge=-(2**20), lt=2**20)]
"""Number in a list from 0, or from -1 for the last one backwards."""
Several = Annotated[int, Interval(ge=2, le=10**4)]
"""Runs or checkpoints of which one alone makes no sense."""
Folds = Annotated[int, Interval(ge=0, le=10**4)]
"""Parts that lines are cut into, or the number of one of them; 0 cuts none."""
Version = Annotated[int, Interval(ge=1, le=1000)]
"""Of a format."""
Samples = Annotated[int, Interval(ge=0, le=100)]
"""Lines that are shown at an evaluation; 0 shows none."""
Seed = Annotated[int, Interval(ge=0, lt=2**64)]
"""Start of random numbers."""
Beam = Annotated[int, Interval(ge=1, le=1000)]
"""Hypotheses of a search."""
BeamOrZero = Annotated[int, Interval(ge=0, le=1000)]
"""The same, where 0 searches nothing."""
Texts = Annotated[int, Interval(ge=1, le=10**4)]
"""Texts of a prompt, or lines at a time."""
MostLoss = Annotated[float, Interval(ge=0.0, le=100.0)]
"""How much worse a model may get: points of a score, or percent of a perplexity."""
Rate = Annotated[float, Interval(ge=0.0, lt=1.0)]
"""Dropout, and the decay of an average."""
Share = Annotated[float, Interval(ge=0.0, le=1.0)]
"""A part of a whole, none and all included."""
ShareAboveZero = Annotated[float, Interval(gt=0.0, le=1.0)]
"""A part of a whole, never none."""
ShareWithin = Annotated[float, Interval(gt=0.0, lt=1.0)]
"""A part of a whole, neither none nor all."""
HeldOut = Annotated[float, Interval(ge=0.0, le=0.5)]
"""The part of the training text that is held out."""
Epsilon = Annotated[float, Interval(gt=0.0, le=1.0)]
"""What is added so that nothing is divided by zero."""
LearningRate = Annotated[float, Interval(gt=0.0, le=1000.0)]
"""Peak learning rate."""
Weight = Annotated[float, Interval(ge=0.0, le=1000.0)]
"""Weight of a term of the loss, or of weight decay."""
Ratio = Annotated[float, Interval(ge=0.0, le=1e9)]
"""The larger over the smaller, or a norm; 0 sets no limit."""
Scale = Annotated[float, Interval(gt=0.0, le=1e6)]
"""A factor."""
Factor = Annotated[float, Interval(ge=1.0, le=1e6)]
"""How many times as long."""
Base = Annotated[float, Interval(gt=0.0, le=1e12)]
"""Base of the rates of rotary positions."""
Seconds = Annotated[float, Interval(gt=0.0, le=1e7)]
"""How long to wait."""
Minutes = Annotated[float, Interval(ge=0.0, le=1e7)]
"""How long to train; 0 sets no limit."""
LengthPenalty = Annotated[float, Interval(ge=0.0, le=10.0)]
"""Exponent of a length."""
Temperature = Annotated[float, Interval(ge=0.0, le=1000.0)]
"""Divides logits; 0 takes the best."""
Repetition = Annotated[float, Interval(ge=0.001, le=1000.0)]
"""Divides logits of what was there before."""
Penalty = Annotated[float, Interval(ge=-2.0, le=2.0)]
"""Taken off logits, as OpenAI defines it."""
Bias = Annotated[float, Interval(ge=-100.0, le=100.0)]
"""Added to a logit, as OpenAI defines it."""
Devices = Annotated[int, Interval(ge=1, le=10**6)]
"""Devices of a plan."""
Speed = Annotated[float, Interval(gt=0.0, le=1e9)]
"""TFLOP/s or GB/s of a device."""

DEEPEST = 32  # tables and lists inside each other: no recipe has more than 4, and Python's own limit is near 1,000
TOO_DEEP = f"tables or lists are nested deeper than {DEEPEST}"
LARGEST = 2**64  # TOML has integers of 64 bits


class Range(NamedTuple):
    """The ends of a kind of numbers."""

    kind: type
    """int or float."""
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    """Whether ``low`` itself is outside."""
    high_open: bool = False


def range_of(kind: Any) -> Range:
    """Returns the ends of an annotation such as ``Size``; an end that it leaves open is None."""
    number, *marks = get_args(kind) or (kind,)
    ends: dict[str, Any] = {}
    for mark in (part for whole in marks for part in (whole if isinstance(whole, Interval) else (whole,))):
        match mark:
            case Ge(low):
                ends |= {"low": low}
            case Gt(low):
                ends |= {"low": low, "low_open": True}
            case Le(high):
                ends |= {"high": high}
            case Lt(high):
                ends |= {"high": high, "high_open": True}
    return Range(number, **ends)


def unusable(tree: Any) -> list[str]:
    """Returns what in a tree no setting can be: nan, inf, integers above 64 bits, tables within too many others."""
    problems = [TOO_DEEP] if too_deep(tree) else []
    for key, value in (item for layer in _layers(tree) for item in layer):
        if isinstance(value, float) and not math.isfinite(value):
            problems.append(f"{key} = {value}: must be a finite number")
        elif isinstance(value, int) and abs(value) >= LARGEST:
            problems.append(f"{key}: an integer of {value.bit_length()} bits, must have at most 64")
    return problems


def too_deep(tree: Any) -> bool:
    """Says whether tables and lists are in more than ``DEEPEST`` others, where code that calls itself would end."""
    return sum(1 for _ in _layers(tree)) > DEEPEST


def _layers(tree: Any) -> Iterator[list[tuple[str, Any]]]:
    """Yields the keys and values of a tree, those of the same depth together, one layer more than ``DEEPEST``."""
    layer = [("", tree)]
    for _ in range(DEEPEST + 1):
        inner: list[tuple[str, Any]] = []
        for key, value in layer:
            if isinstance(value, Mapping | list | tuple):
                parts = value.items() if isinstance(value, Mapping) else enumerate(value)
                inner += [(f"{key}.{name}".lstrip("."), item) for name, item in parts if not isinstance(item, str)]
        if not inner:
            return
        yield inner
        layer = inner
