"""Generation by the native engine: texts of a language model, written together; no torch."""

from collections.abc import Callable, Sequence

from clearhead.engine.loops.continuation import Continuation, never
from clearhead.engine.loops.sampler import SamplerSettings, of_row
from clearhead.engine.loops.writing import Writing
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError


def generate(
    model: NativeModel,
    prompts: Sequence[Sequence[int]],
    settings: SamplerSettings,
    *,
    limits: Sequence[int],
    samples: Sequence[int],
    stopped: Sequence[Callable[[int], bool]] = (),
    threads: int = 1,
) -> list[Continuation]:
    """Continues each prompt; a text depends on its prompt, its sample number and the settings, and on no other prompt.

    Args:
        model: a decoder-only model.
        prompts: one piece or more each.
        settings: how pieces are drawn.
        limits: most pieces of each, end mark included.
        samples: a number for each; equal prompts with different numbers give different texts.
        stopped: a function for each prompt, or none at all; it is called with each new piece, and True ends the text.
        threads: how many share a product, where that pays.

    Raises:
        ModelError: NaN among the logits, or no piece is left to draw (names row and position).
    """
    writing = Writing(model, threads, reading=sum(map(len, prompts)) + len(prompts) * model.max_len)
    asked = zip(prompts, limits, samples, stopped or [never] * len(prompts), strict=True)
    rows = {
        writing.join(prompt, settings, limit=limit, sample=sample, stopped=stop): row
        for row, (prompt, limit, sample, stop) in enumerate(asked)
    }
    found = [Continuation() for _ in prompts]
    while len(writing):
        for written in writing.step():
            match written.over:
                case Continuation() as text:
                    found[rows[written.ticket]] = text
                case ModelError() as error:
                    raise ModelError(of_row(rows[written.ticket], error))
                case Exception() as error:
                    raise error
    return found
