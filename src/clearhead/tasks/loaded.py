"""What all loaded runs have in common: a short repr, and a way through pickle and ``copy.deepcopy``."""

import dataclasses
from typing import Any

from torch import nn

from clearhead.brief import Brief


class Loaded(Brief):
    """A trained model with what it needs to read and write text; its subclasses are dataclasses.

    A pickle, a deep copy or another process gets the fields. What an object has made of them on the way, such as a
    packed copy of the weights, whose memory is oneDNN's own, is made anew where it is first asked for.
    """

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
