"""The one way to ask for fast weights: says what computes a model's decoding here, and prepares it.

The native engine decodes what it covers (``native_fault``), and reads texts with an encoder that it covers; another
encoder computes by itself. A copy of the model decodes the rest, packed by PyTorch.
Its kernels are private to PyTorch, and another version or build may have them not at all, under another name or with
other arguments. So each kind is tried on a small layer first (``fault_of``). Where float32 fails the model decodes by
its own layers, with the same pieces; where int8 fails there is nothing equal to fall back on, and an error says why.
The native engine alone has the other kinds, bfloat16 and int4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

import torch
from torch import nn

from clearhead.engine import library
from clearhead.engine.copies.int8 import Int8Linear
from clearhead.engine.copies.linear import FastLinear
from clearhead.engine.copies.onednn import PackedLinear
from clearhead.engine.copies.packed import pack
from clearhead.engine.rows import Computed, NativeModel
from clearhead.engine.weights.describe import Covered, covered, described
from clearhead.engine.weights.image import Image
from clearhead.engine.weights.packing import Weights as Weights  # noqa: PLC0414 - who chooses finds the word here
from clearhead.errors import UsageError
from clearhead.models.bert import BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer

Engine = Literal["native", "packed", "torch"]
"""What computes the steps: the native engine, a copy of the model packed by PyTorch, or the model itself."""
EngineName = Literal["auto", "native", "torch"]
"""What may be asked for: the native engine where it covers the model, that or an error, or PyTorch."""
M = TypeVar("M", bound=nn.Module)

KINDS: dict[Weights, tuple[type[FastLinear], float]] = {"float32": (PackedLinear, 1e-5), "int8": (Int8Linear, 0.05)}
"""PyTorch's layers for kinds of weights, and how far outputs of size 1 may be off: int8 rounds its inputs."""


@dataclass(frozen=True)
class Choice(Generic[M]):
    """How a model decodes on this machine; see ``choose``."""

    model: M
    weights: Weights
    engine: Engine
    why: str = ""
    """Why the model itself computes; empty with the other engines."""

    @property
    def computed(self) -> Computed:
        """What is named to the user."""
        return "native" if self.engine == "native" else "torch"

    def image(self, done: Callable[[], object] = bool) -> Image:
        """Returns the weights as the native engine packs them.

        Args:
            done: called whenever weights that were read may leave the memory.
        """
        return Image(described(cast(Covered, self.model), done), self.weights)

    def prepare(self, image: Callable[["Choice[M]"], Image] = image) -> M | NativeModel | None:
        """Returns what decodes faster; None where the model itself decodes.

        Args:
            image: gives the packed weights, if they are kept somewhere.
        """
        if self.engine == "native":
            return NativeModel(image(self))
        if self.engine == "torch" or not isinstance(self.model, Transformer | GPT):
            return None
        linear, _ = KINDS[self.weights]
        return cast(M, pack(self.model, linear))


def choose(model: M, weights: Weights = "float32", engine: EngineName = "auto") -> Choice[M]:
    """Says what decodes with ``model``; makes nothing yet, so that who never decodes has one copy of the weights.

    Args:
        model: on its device, in evaluation mode.
        weights: as a CPU is to hold them. With float32 the model itself is the way back; the others have none.
        engine: what is to compute.

    Raises:
        UsageError: ``weights`` is not float32 or ``engine`` is native, and the model or the machine cannot have it.
    """
    fault = "" if engine == "torch" else native_fault(model)
    if engine != "torch" and not fault:
        return Choice(model, weights, "native")
    if engine == "native":
        raise UsageError(f"engine = 'native': {fault}")
    if isinstance(model, BertPretraining | BertClassifier):
        if weights != "float32":
            why = fault or "engine = 'torch' has an encoder's weights as they are"
            raise UsageError(f"weights = {weights!r}: {why}")
        return Choice(model, weights, "torch", fault)
    if weights not in KINDS:
        why = fault or "engine is 'torch'"
        raise UsageError(f"weights = {weights!r}: the native engine alone computes with such ({why})")
    if not _is_packable(model):
        if weights != "float32":
            raise UsageError(f"weights = {weights!r}: generation with such is for a GPT in float32 on a CPU")
        return Choice(
            model, weights, "torch", "only a Transformer or GPT of our modules, in float32 on a CPU, is packed"
        )
    linear, tolerance = KINDS[weights]
    fault = fault_of(linear, tolerance=tolerance)
    if fault and weights != "float32":
        raise UsageError(f"weights = {weights!r}: the PyTorch installed here cannot compute with such ({fault})")
    return Choice(model, weights, "torch" if fault else "packed", fault)


def native_fault(model: nn.Module) -> str:
    """Says in a few words why the native engine does not compute with ``model`` here; nothing where it does."""
    return covered(model) or library.fault()


def fault_of(linear: type[FastLinear], *, tolerance: float) -> str:
    """Tries every kernel of a kind of layer on a small one; returns what is wrong in a few words, or nothing.

    Draws no random numbers, and looks at the results, so that a kernel that came to mean something else is found too.
    """
    layer = nn.utils.skip_init(nn.Linear, 16, 16, device="cpu", dtype=torch.float32).requires_grad_(False)
    layer.weight.copy_(torch.linspace(-1, 1, 256).sin().view(16, 16) / 4)
    layer.bias.copy_(torch.linspace(-1, 1, 16))
    x = torch.linspace(-1, 1, 48, dtype=torch.float32).view(3, 16)
    expected = layer(x)
    try:
        plain, relu = linear(layer), linear(layer, then="relu")
        differences = plain(x) - expected, relu(x) - expected.relu(), plain.add_to(x, x) - x - expected
    except (AttributeError, TypeError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if not all(float(difference.abs().max()) <= tolerance for difference in differences):
        return f"the kernels of {linear.__name__} give other results than a linear layer"
    return ""


def _is_packable(model: nn.Module) -> bool:
    """Whether a copy can be packed: a model of ours, with no module of another's in it, in float32 on a CPU."""
    if not isinstance(model, Transformer | GPT):
        return False
    if any(type(module).__module__.partition(".")[0] not in ("clearhead", "torch") for module in model.modules()):
        return False
    weight = next(model.parameters())
    return weight.device.type == "cpu" and weight.dtype == torch.float32
