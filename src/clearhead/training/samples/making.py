"""Lets a model in training make its samples, so that training does not notice."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from clearhead.errors import ClearheadError
from clearhead.training.arrangement import is_sharded
from clearhead.training.distributed import ranks
from clearhead.training.events import Noted, Sampled, SampledLine
from clearhead.training.generators import generator_states, restore_generators
from clearhead.training.state import TrainState

Sampling = Callable[[nn.Module], tuple[Sequence[SampledLine], Mapping[str, float]]]
"""Model -> what it makes of a few lines of the valid split, and their scores; see ``Sampled``."""


def no_samples(model: nn.Module) -> tuple[Sequence[SampledLine], Mapping[str, float]]:
    """Shows nothing: what a ``Sampling`` is by default."""
    return (), {}


def samples_by(state: TrainState, sample: Sampling, *, compiled: bool = False) -> list[Sampled | Noted]:
    """Lets the model show what it makes of a few lines; leaves the random generators as they are.

    The first of several processes does, while the others wait for it. None does where the weights are sharded: all
    would have to, and would wait for each other for ever where they differ by a piece.

    Args:
        state: of the run; it is not changed.
        sample: makes the samples, in inference mode.
        compiled: whether layers are compiled. They run as they are written then, or they would be compiled again for
            the shapes of decoding.
    """
    if ranks().rank or is_sharded(state.loss_module):
        return []
    started, generators = time.perf_counter(), generator_states()
    try:
        with torch.inference_mode(), torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
            lines, scores = sample(state.evaluated_model.eval())
    except ClearheadError as error:
        return [Noted(state.step, f"there are no samples at step {state.step}: {error}")]
    finally:
        restore_generators(generators)
    return [Sampled(state.step, lines, scores, time.perf_counter() - started)] if lines else []
