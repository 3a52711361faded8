"""How layers are computed: with activation checkpoints, compiled, or sharded over processes; results stay the same."""

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from clearhead.errors import UsageError
from clearhead.loss import compiled_losses
from clearhead.models.rnn import RNNLanguageModel, RNNTranslator
from clearhead.nn.layer import CausalLayer, Layer
from clearhead.nn.norm import BatchNorm
from clearhead.nn.shards import is_shard
from clearhead.training.config import MachineConfig, ValidationConfig
from clearhead.training.distributed import LossModule, ranks
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


def arrange(model: nn.Module, machine: MachineConfig) -> LossModule:
    """Changes how ``model`` is computed, in place, and returns the module that its losses run in.

    Args:
        model: already on its device.
        machine: ``checkpoint_activations`` saves only the input of each layer and computes the rest again in the
            backward pass (Chen et al. 2016, arXiv:1604.06174), with the same random numbers; ``compile`` compiles each
            layer, and on a GPU what losses do with logits; ``parallel = "fsdp"`` leaves each process its part of the
            weights, gradients and optimizer state.
    """
    for layer in layers_of(model):
        if machine.checkpoint_activations:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        if machine.compile:
            compile_layer(layer, on_gpu=next(model.parameters()).is_cuda)
    if machine.parallel == "fsdp" and ranks().world > 1:
        return sharded(model, Precision(machine.numbers, next(model.parameters()).device.type))
    return LossModule(model, compiled_losses) if machine.compile else LossModule(model)


def compile_layer(layer: nn.Module, *, on_gpu: bool) -> None:
    """Compiles ``layer`` for the device; layers of one class share what is compiled.

    Sizes are left open, since they differ from batch to batch. On a GPU those of a decoder-only model, whose windows
    are of one length, are at first compiled as they are, which gives faster kernels, and left open once they differ.
    There dropout is drawn inside the kernels, from (seed, step) like every other draw, but not to the masks of the
    eager model; on a CPU it is drawn as there.
    """
    if not on_gpu:
        layer.compile(dynamic=True, options={"fallback_random": True})
    elif isinstance(layer, CausalLayer):
        layer.compile()
    else:
        layer.compile(dynamic=True)


def sharded(model: nn.Module, precision: Precision) -> LossModule:
    """Shards each layer, and the parameters outside the layers, over all processes (FSDP2, ``fully_shard``).

    The matrices of the layers are gathered in ``precision``, to which autocast would cast them, and their gradients are
    summed in float32. Norms and the parameters outside the layers are gathered in float32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(precision.device, (ranks().world,))
    half = MixedPrecisionPolicy(precision.kind, torch.float32, cast_forward_inputs=False)
    for layer in layers_of(model):
        if layer.crossed:  # keys and values of the memory are computed for all layers before the first layer runs
            fully_shard([layer.cross_attn.k_proj, layer.cross_attn.v_proj], mesh=mesh, mp_policy=half)
        if precision.name != "float32" and (wide := _wide(layer)):
            fully_shard(wide, mesh=mesh)
        fully_shard(layer, mesh=mesh, mp_policy=half)
    # torch warns of changes in place to these views; keys and values are never changed in place
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    loss_module = LossModule(model, precision.autocast)  # in an evaluation too: matrices are gathered in half precision
    # parameters outside the layers stay gathered through a step: the loss reads the output weights after the forward
    fully_shard(loss_module, mesh=mesh, reshard_after_forward=False)
    return loss_module


def _wide(layer: Layer) -> list[nn.Module]:
    """Returns the parts of a layer whose parameters autocast leaves in float32: all but the linear layers."""
    own = (module for module in layer.modules() if next(module.parameters(recurse=False), None) is not None)
    return [module for module in own if not isinstance(module, nn.Linear)]


def for_all_processes(loss_module: nn.Module, *, changing: bool) -> nn.Module:
    """Wraps ``loss_module`` so that gradients are averaged over the processes, unless FSDP does so already.

    Args:
        loss_module: from ``arrange``.
        changing: whether the parts that learn change from step to step.
    """
    if ranks().world == 1 or isinstance(loss_module, nn.parallel.DistributedDataParallel) or is_sharded(loss_module):
        return loss_module
    return nn.parallel.DistributedDataParallel(
        loss_module, find_unused_parameters=changing, gradient_as_bucket_view=True, init_sync=False
    )


def is_sharded(loss_module: nn.Module | None) -> bool:
    """Whether FSDP shards the parameters of ``loss_module``."""
    return loss_module is not None and any(map(is_shard, loss_module.parameters()))


def sums_of(loss_module: nn.Module) -> Callable[[bool], object] | None:
    """Returns the call that tells FSDP whether to sum the next gradients over the processes; None without FSDP."""
    if not is_sharded(loss_module):
        return None
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(loss_module, FSDPModule)
    return loss_module.set_requires_gradient_sync
