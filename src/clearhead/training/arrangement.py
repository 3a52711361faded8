"""How the layers of a model are computed: again on the way back, compiled, or sharded over processes; same results."""

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from clearhead.errors import UsageError
from clearhead.models.rnn import RNNLanguageModel, RNNTranslator
from clearhead.nn.layer import Layer
from clearhead.nn.norm import BatchNorm
from clearhead.nn.shards import is_shard
from clearhead.training.config import MachineConfig, ValidationConfig
from clearhead.training.distributed import Inside, ranks
from clearhead.training.precision import Precision


def layers_of(model: nn.Module) -> list[Layer]:
    """Returns the Transformer layers of a model, from the bottom."""
    return [module for module in model.modules() if isinstance(module, Layer)]


def check_arrangement(model: nn.Module, machine: MachineConfig, validation: ValidationConfig) -> None:
    """Checks that a model can be computed as the recipe says.

    Raises:
        UsageError: it cannot; the message names the key.
    """
    recurrent = isinstance(model, RNNLanguageModel | RNNTranslator)
    if machine.checkpoint_activations and any(isinstance(module, BatchNorm) for module in model.modules()):
        raise UsageError(
            "train.checkpoint_activations = true: a batch norm would count each batch twice; use another norm"
        )
    for key in ("checkpoint_activations", "compile"):
        if recurrent and getattr(machine, key):
            raise UsageError(f"train.{key} = true: is for Transformers, not for recurrent models")
    if machine.parallel == "ddp":
        return
    if recurrent:
        raise UsageError("train.parallel = 'fsdp': is for Transformers, not for recurrent models")
    if validation.monitor == "bleu":
        raise UsageError("train.parallel = 'fsdp': validation.monitor = 'bleu' needs a whole model; use loss, or ddp")


def arrange(model: nn.Module, machine: MachineConfig) -> Inside:
    """Changes how ``model`` is computed, in place, and returns what its losses run in.

    Args:
        model: weights are where they are to stay.
        machine: ``checkpoint_activations`` keeps of each layer its input alone and computes the rest again on the way
            back (Chen et al. 2016, arXiv:1604.06174), with the same random numbers; ``compile`` compiles each layer;
            ``parallel = "fsdp"`` leaves each process its part of each layer's weights, gradients and optimizer state.
    """
    for layer in layers_of(model):
        if machine.checkpoint_activations:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        if machine.compile:
            # lengths differ from batch to batch; random numbers are to be those of the model as it is
            layer.compile(dynamic=True, options={"fallback_random": True})
    if machine.parallel == "fsdp" and ranks().world > 1:
        return sharded(model, Precision(machine.precision, next(model.parameters()).device.type))
    return Inside(model)


def sharded(model: nn.Module, precision: Precision) -> Inside:
    """Shards each layer, and what is around them, over all processes (FSDP2, ``fully_shard``).

    The matrices of the layers are gathered in ``precision``, which is what autocast makes of them, and their gradients
    are summed in float32. Norms, and what is around the layers, are gathered as they are.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(precision.device, (ranks().world,))
    half = MixedPrecisionPolicy(precision.kind, torch.float32, cast_forward_inputs=False)
    for layer in layers_of(model):
        if layer.crossed:  # the memory is projected for all layers before the first of them runs
            fully_shard([layer.cross_attn.k_proj, layer.cross_attn.v_proj], mesh=mesh, mp_policy=half)
        if precision.name != "float32" and (wide := _wide(layer)):
            fully_shard(wide, mesh=mesh)
        fully_shard(layer, mesh=mesh, mp_policy=half)
    # nobody changes keys and values in place, which is what torch warns of
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    inside = Inside(model, precision.autocast)  # an evaluation too: matrices come in half precision
    # what is around the layers stays whole through a step: the loss takes the table of embeddings once more
    fully_shard(inside, mesh=mesh, reshard_after_forward=False)
    return inside


def _wide(layer: Layer) -> list[nn.Module]:
    """Returns the parts of a layer whose parameters autocast leaves as they are: all but products with matrices."""
    own = (module for module in layer.modules() if next(module.parameters(recurse=False), None) is not None)
    return [module for module in own if not isinstance(module, nn.Linear)]


def for_all_processes(inside: nn.Module, *, changing: bool) -> nn.Module:
    """Returns ``inside`` so that gradients are averaged over the processes.

    Args:
        inside: from ``arrange``.
        changing: whether other parts learn from step to step.
    """
    if ranks().world == 1 or isinstance(inside, nn.parallel.DistributedDataParallel) or is_sharded(inside):
        return inside
    return nn.parallel.DistributedDataParallel(
        inside, find_unused_parameters=changing, gradient_as_bucket_view=True, init_sync=False
    )


def is_sharded(inside: nn.Module | None) -> bool:
    """Whether ``inside`` is the root of what is sharded."""
    return inside is not None and any(map(is_shard, inside.parameters()))


def sums_of(inside: nn.Module) -> Callable[[bool], object] | None:
    """Returns what says to FSDP whether the next gradients are summed over the processes; None without FSDP."""
    if not is_sharded(inside):
        return None
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(inside, FSDPModule)
    return inside.set_requires_gradient_sync
