"""Whether a model has room on this machine, by arithmetic: nothing is built that cannot fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clearhead.errors import ClearheadError, ModelError
from clearhead.optim.build import OptimConfig, slots_of
from clearhead.runs.text_parts import ModelSizes
from clearhead.training.device import memory_limit
from clearhead.training.distributed import ranks

M = TypeVar("M", bound=nn.Module)
N = TypeVar("N")
CPU = torch.device("cpu")
TRAINED = 5  # times the weights: themselves, gradients, two moments and an average
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB")


class TooLargeError(ModelError):
    """A model that this machine cannot hold, whatever else it does."""


class _NeedsContentError(Exception):
    """A model that cannot be built of tensors without content."""


@dataclass(frozen=True)
class Needed:
    """What a model takes, in bytes, without activations."""

    parameters: int = 0
    """How many."""
    weights: int = 0
    """Of parameters and buffers."""
    state: int = 0
    """Of gradients, optimizer and moving average, where it is trained."""


def build_here(build: Callable[[Any, ModelSizes], M], recipe: Any, sizes: ModelSizes) -> M:
    """Builds the model of a recipe, unless its weights alone are more than this machine's memory.

    Raises:
        TooLargeError: they are.
        UsageError: a size is wrong.
    """
    check_room(build, recipe, sizes)
    return build(recipe, sizes)


def build_to_load(build: Callable[[Any, ModelSizes], M], recipe: Any, sizes: ModelSizes) -> M:
    """Builds as ``build_here`` does a model all of whose weights are loaded next: it draws none, nor random numbers.

    Until then parameters that would be drawn are whatever was in the memory.
    """
    check_room(build, recipe, sizes)
    with _Undrawn():
        return build(recipe, sizes)


class _Undrawn(TorchFunctionMode):
    """Leaves a tensor as it is where random numbers would be drawn into it, by ``nn.init`` or directly."""

    DRAWS = frozenset({Tensor.normal_, Tensor.uniform_})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See ``TorchFunctionMode``."""
        given = kwargs or {}
        if func in self.DRAWS or getattr(func, "__module__", "") == nn.init.__name__:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def check_room(
    build: Callable[[Any, ModelSizes], nn.Module], recipe: Any, sizes: ModelSizes, device: torch.device | None = None
) -> None:
    """Checks that the weights of a model fit the memory of this machine, and what its training takes that of a device.

    Args:
        build: makes the model of (recipe, sizes).
        recipe: has the key ``model``, and ``optim`` and ``train`` where it is to be trained.
        sizes: of its text.
        device: to train on; None asks for the weights alone.

    Raises:
        TooLargeError: they do not; the message has both figures.
        UsageError: a size is wrong.
    """
    limits = memory_limit(CPU), None if device is None else memory_limit(device)
    if at_most(recipe, sizes) * (1 if device is None else TRAINED) <= min((one for one in limits if one), default=0):
        return  # models without content take PyTorch seconds to load what they need
    need = needed(build, recipe, sizes)
    if need is None:
        return
    count, weights = f"{need.parameters:,}", in_units(need.weights)
    if limits[0] is not None and need.weights > limits[0]:
        most = in_units(limits[0])
        raise TooLargeError(f"model: {count} parameters are {weights} of weights, this machine has {most} of memory")
    if device is None or limits[1] is None:
        return
    parts = ranks().world if recipe.train.parallel == "fsdp" else 1
    whole, most = (need.weights + need.state) // parts, in_units(limits[1])
    if whole > limits[1]:
        takes = in_units(whole)
        raise TooLargeError(
            f"model: {count} parameters take {takes} with gradients and optimizer, {device} has {most} of memory"
        )


def at_most(recipe: Any, sizes: ModelSizes) -> int:
    """Returns more bytes than the weights of any of our models with such sizes are: a bound to be done with quickly.

    Every matrix of a layer has ``d_model`` (or LoRA's rank) on one side, on the other less than all sizes added up.
    """
    numbers = {one.name: getattr(recipe.model, one.name) for one in fields(recipe.model)}
    whole = {name: value for name, value in numbers.items() if type(value) is int}
    depth = sum(value for name, value in whole.items() if name.endswith("_layers"))
    length = whole.pop("max_seq_len")
    rank = recipe.lora.rank if getattr(recipe, "lora", None) else 0
    width = rank + sum(value for name, value in whole.items() if not name.endswith("_layers"))
    rows = length + sizes.vocab_size + (sizes.src_vocab_size or 0) + (len(sizes.labels.classes) if sizes.labels else 0)
    return 4 * (24 * (depth + 2) * (recipe.model.d_model + rank) * width + 4 * (rows + 2) * width)


def needed(build: Callable[[Any, ModelSizes], nn.Module], recipe: Any, sizes: ModelSizes) -> Needed | None:
    """Returns what a model takes, from models of one layer and of two without content; layers are all alike.

    None if that is not known, since the model cannot be built so.
    """

    def measure(shallow: Any) -> Needed:
        try:
            with torch.device("meta"):
                model = build(shallow, sizes)
        except ClearheadError:
            raise
        except Exception as error:  # of a part of somebody's own
            raise _NeedsContentError from error
        return _measured(model, recipe.optim)

    try:
        return by_depth(measure, recipe, most=1)
    except _NeedsContentError:
        return None


def by_depth(measure: Callable[[Any], N], recipe: Any, *, most: int) -> N:
    """Returns what ``measure`` gives for a recipe, from models of at most ``most`` + 1 layers, as layers are all alike.

    Args:
        measure: makes a dataclass of numbers from a recipe; each number grows by the same with every layer.
        recipe: has the key ``model``.
        most: layers of a stack up to which it is measured as it is.
    """
    sizes = {one.name: getattr(recipe.model, one.name) for one in fields(recipe.model)}
    deep = {name: depth for name, depth in sizes.items() if name.endswith("_layers") and depth > most}

    def at(depths: dict[str, int]) -> N:
        return measure(replace(recipe, model=replace(recipe.model, **depths)) if depths else recipe)

    least = whole = at(dict.fromkeys(deep, most))
    for name, depth in deep.items():
        whole = grown(whole, least, at({**dict.fromkeys(deep, most), name: most + 1}), depth - most)
    return whole


def grown(whole: N, less: N, more: N, times: int | float) -> N:
    """Returns ``whole`` with ``times`` the difference of two measurements added to each of its numbers."""
    tree: Any = whole
    changes: dict[str, Any] = {}
    for one in fields(tree):
        value, low, high = (getattr(part, one.name) for part in (whole, less, more))
        if isinstance(value, int | float):
            changes[one.name] = type(value)(value + times * (high - low))
    result: N = replace(tree, **changes)
    return result


def _measured(model: nn.Module, optim: OptimConfig) -> Needed:
    parameters = list(model.parameters())
    weights, buffers = (sum(tensor.nbytes for tensor in tensors) for tensors in (parameters, model.buffers()))
    learned = sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)
    state = (1 + slots_of(optim.name)) * learned + (weights if optim.ema_decay else 0)
    return Needed(sum(parameter.numel() for parameter in parameters), weights + buffers, state)


def in_units(size: int) -> str:
    """Returns a number of bytes as text, such as ``1.50 GiB``."""
    power = min((max(size, 1).bit_length() - 1) // 10, len(UNITS) - 1)
    return f"{size / 1024**power:,.{2 * (power > 0)}f} {UNITS[power]}"
