"""Generation by the native engine: texts of a language model, piece by piece; no torch."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.loops.continuation import Continuation, never
from clearhead.engine.loops.sampler import NativeSampler, SamplerSettings, uniforms
from clearhead.engine.loops.windows import Texts
from clearhead.engine.rows import Ints

ROOM = 256  # pieces that the histories have room for at first beyond the prompts


def generate(
    texts: Texts,
    prompts: Sequence[Sequence[int]],
    settings: SamplerSettings,
    *,
    limits: Sequence[int],
    samples: Sequence[int],
    stopped: Sequence[Callable[[int], bool]] = (),
) -> list[Continuation]:
    """Continues each prompt; a text depends on its prompt, its sample number and the settings, and on no other prompt.

    Args:
        texts: that have read the prompts; of no use afterwards.
        prompts: one piece or more each.
        settings: how pieces are drawn.
        limits: most pieces of each, end mark included.
        samples: a number for each; equal prompts with different numbers give different texts.
        stopped: a function for each prompt, or none at all; it is called with each new piece, and True ends the text.

    Raises:
        ModelError: NaN among the logits, or no piece is left to draw (names row and position).
    """
    found, rows = [Continuation() for _ in prompts], list(range(len(prompts)))
    sampler = NativeSampler(settings, texts.model.vocab, texts.model.kernels)
    stops, marks = stopped or [never] * len(rows), settings.marks
    history = _History([settings.text(prompt) for prompt in prompts])
    for position in range(max(limits)):
        numbers = uniforms(settings.config.seed, [samples[row] for row in rows], [position] * len(rows))
        pieces, log_probs = sampler.draw(texts.logits, history.ids, history.lengths, history.prompts, numbers)
        going = []
        for place, (row, *new) in enumerate(zip(rows, pieces.tolist(), log_probs.tolist(), strict=True)):
            if not found[row].take(*new, ends=marks, limit=limits[row], stopped=stops[row]):
                going.append(place)
        if not going:
            break
        history.append(pieces)
        if len(going) < len(rows):
            kept, rows = np.array(going, dtype=np.int32), [rows[place] for place in going]
            texts.keep(kept)
            history.keep(kept)
            pieces = pieces[kept]
        texts.advance(pieces)
    return found


class _History:
    """The pieces of each row, prompts without end marks first, with room to grow."""

    def __init__(self, prompts: list[list[int]]) -> None:
        self.prompts: Ints = np.array([*map(len, prompts)], dtype=np.int32)
        self.lengths = self.prompts.copy()
        self.ids: NDArray[np.int32] = np.zeros((len(prompts), int(self.lengths.max()) + ROOM), dtype=np.int32)
        for row, prompt in zip(self.ids, prompts, strict=True):
            row[: len(prompt)] = prompt

    def append(self, pieces: Ints) -> None:
        """Appends a piece to each row."""
        if self.lengths.max() == self.ids.shape[1]:
            self.ids = np.pad(self.ids, ((0, 0), (0, self.ids.shape[1])))
        self.ids[np.arange(len(pieces)), self.lengths] = pieces
        self.lengths += 1

    def keep(self, rows: Ints) -> None:
        """Only these rows stay."""
        self.ids, self.lengths, self.prompts = self.ids[rows], self.lengths[rows], self.prompts[rows]
