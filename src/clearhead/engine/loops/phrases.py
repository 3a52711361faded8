"""Phrases that translations must or must not contain, as the native library reads them; no torch."""

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import Phrase
from clearhead.text.phrase import Automaton
from clearhead.text.phrase_book import Demand


class ToldPhrase:
    """An automaton as the library reads it, with all that this points to.

    Args:
        automaton: finds a phrase, or any of several.
        required: whether translations must contain it; the ways to one to avoid are never read, and left out.
    """

    def __init__(self, automaton: Automaton, required: bool) -> None:
        self.vocab = len(automaton.kinds)
        ways = automaton.ways if required else [np.zeros(0)] * len(automaton.steps)
        begins = np.cumsum([0, *map(len, ways)])
        given = (automaton.steps, automaton.kinds, automaton.left, np.concatenate(ways), begins)
        self._arrays = [np.ascontiguousarray(each, dtype=np.int32) for each in given]
        self._told = Phrase(*(each.ctypes.data for each in self._arrays), *automaton.steps.shape)
        self.address = ctypes.addressof(self._told)


_TOLD = {required: weakref.WeakKeyDictionary[Automaton, ToldPhrase]() for required in (True, False)}
"""Automata as they are told, as long as they live: a glossary's come again with each of its texts."""


def told(automaton: Automaton, *, required: bool) -> ToldPhrase:
    """Returns an automaton as the library reads it; see ``ToldPhrase``."""
    kept = _TOLD[required].get(automaton)
    if kept is None:
        kept = _TOLD[required][automaton] = ToldPhrase(automaton, required)
    return kept


def tell_phrases(demands: Sequence[Demand], vocab: int, asked: NDArray[Any]) -> list[Any]:
    """Has each source ask for its phrases; returns what that points to.

    Args:
        demands: of each source.
        vocab: pieces of the model.
        asked: [sources], of ``ASKED``.
    """
    kept = list[Any]()
    for place, demand in enumerate(demands):
        phrases = [told(each, required=True) for each in demand.required.values()]
        if demand.avoided:
            phrases.append(told(demand.avoided, required=False))
        if not phrases:
            continue
        if wrong := [phrase.vocab for phrase in phrases if phrase.vocab != vocab]:
            raise ValueError(f"a phrase of {wrong[0]} pieces: must be of the model's {vocab}")
        addresses = np.array([phrase.address for phrase in phrases], dtype=np.uint64)
        asked["phrases"][place] = addresses.ctypes.data
        asked["required"][place], asked["avoided"][place] = len(demand.required), demand.avoided is not None
        kept += [addresses, *phrases]
    return kept
