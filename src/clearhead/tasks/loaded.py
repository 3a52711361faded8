"""What all loaded runs have in common: a short repr, and a way through pickle and ``copy.deepcopy``."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from clearhead.brief import Brief
from clearhead.engine.choose import EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.progress import silent
from clearhead.tasks.packed import Packing

M = TypeVar("M", bound=nn.Module)


class Loaded(Brief):
    """A trained model with what it needs to read and write text; its subclasses are dataclasses.

    A pickle, a deep copy or another process gets the fields. What an object has made of them on the way, such as a
    packed copy of the weights, whose memory is oneDNN's own, is made anew where it is first asked for.
    """

    @property
    def threads(self) -> int:
        """See ``NativeUser``."""
        return torch.get_num_threads()

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        model, recipe = fields["model"], fields["recipe"]
        size = ""
        if isinstance(model, nn.Module):
            parameters = list(model.parameters())
            size = f" of {sum(map(nn.Parameter.numel, parameters)):,} parameters on {parameters[0].device}"
        return f"{type(self).__name__}({recipe.name!r}, {type(model).__name__}{size}, step {fields['step']})"


def prepared(
    model: M,
    weights: Weights | None,
    engine: EngineName,
    packing: Packing | None,
    release: Callable[[], object] = silent,
) -> M | NativeModel:
    """Returns what computes for a loaded model: that itself, or what it is packed to.

    Args:
        model: the model.
        weights: as a CPU is to hold them; None takes ``model`` itself.
        engine: what is to compute.
        packing: where the native engine's weights are kept; None: in memory alone.
        release: called whenever weights that packing has read may leave the memory, and at the end.
    """
    if weights is None:
        return model
    choice = choose(model, weights, engine)
    packed = choice.prepare(lambda each: packing.image(each, release) if packing else each.image(release))
    release()
    return packed or model


def native_of(prepared: object) -> NativeModel | None:
    """Returns what the native engine computes with; None where PyTorch computes."""
    return prepared if isinstance(prepared, NativeModel) else None
