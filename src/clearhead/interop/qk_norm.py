"""QK norm in other libraries: they add the layers' epsilon to queries and keys too, ours a fixed and smaller one.

Multiplying the projection by c and then dividing by sqrt(mean square + eps) is the same as dividing by
sqrt(mean square + eps / c^2) without c. So projections that are stretched by the right c give there what they give
here, whatever the epsilon.
"""

import copy
import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.interop.spelling import Tensors

_OWN_EPSILON = torch.finfo(torch.float32).eps
"""What ``nn.attention.unit_rms`` adds to the mean square."""
_STRETCHED = re.compile(r"\.attn\.[qk]_proj\.(weight|bias)$")
_GAIN = re.compile(r"\.[qk]_norm\.weight$")


def stretch(eps: float) -> float:
    """Returns the factor of queries and keys with which an epsilon of ``eps`` has the effect of ours."""
    return math.sqrt(eps / _OWN_EPSILON)


def stretched(ours: Mapping[str, Tensor], factor: float) -> Tensors:
    """Returns our tensors with the projections of queries and keys multiplied by ``factor``."""
    return {name: tensor * factor if _STRETCHED.search(name) else tensor for name, tensor in ours.items()}


@torch.no_grad()
def stretched_linear(layer: nn.Linear, eps: float) -> nn.Linear:
    """Returns a copy of a projection of queries or keys for a library that adds ``eps`` to their mean square."""
    stretched_copy = copy.deepcopy(layer)
    for parameter in stretched_copy.parameters():
        parameter.mul_(stretch(eps))
    return stretched_copy


def without_gains(theirs: Mapping[str, Tensor]) -> Tensors:
    """Returns their tensors without the gains of queries and keys, which ours does not have.

    Raises:
        ModelError: a gain is not 1 everywhere.
    """
    for name, tensor in theirs.items():
        if _GAIN.search(name) and not (tensor == 1).all():
            raise ModelError(f"tensor {name!r} is not 1 everywhere: clearhead's qk_norm has no gain")
    return {name: tensor for name, tensor in theirs.items() if not _GAIN.search(name)}
