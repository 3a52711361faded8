"""Mixed precision: which operator computes in which type, and a gradient that is lost in float16 without a loss scale.

A small GPT of clearhead takes its forward pass under autocast while a watcher notes the type of what each operator
returns. Then the gradient of a small loss is taken in each precision (Micikevicius et al. 2018, arXiv:1710.03740).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.loss import cross_entropy
from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.norm import Norm
from clearhead.training.precision import Precision, PrecisionName

LIMITS = {"d_model": (8, 128), "small": (1e-12, 1.0)}


class Types(OperatorMode):
    """Notes the type of what each operator that computes with numbers returns."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, str] = {}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See ``OperatorMode``."""
        result = operator(*args, **(kwargs or {}))
        numbers = [tensor for tensor in tensors_of(result) if tensor.is_floating_point()]
        name = operator.overloadpacket.__name__
        if numbers and not operator.is_view and name not in ("detach", "clone", "cat"):
            self.of.setdefault(name, short(numbers[0]))
        return result


@dataclass(frozen=True)
class MixedPrecision:
    """What was measured."""

    operators: dict[str, str]
    """Operator -> type of its result."""
    outputs: dict[str, list[str]]
    """Kind of module -> types of what it returned; of ``loss`` and ``weights`` too, with the weights' gradients."""
    gradients: dict[str, list[float]]
    """Precision -> share of the gradient's elements that are 0, and its relative error."""
    scale: list[float]
    """The loss scale before and after a step whose gradient overflows, and how far that step moved a weight."""


def run(*, d_model: int = 32, small: float = 1e-7, seed: int = 0) -> MixedPrecision:
    """Looks at a forward pass in bfloat16, and at the gradient of a loss times ``small`` in each precision."""
    torch.manual_seed(seed)
    d_model -= d_model % 4
    config = GPTConfig(d_model=d_model, d_ff=2 * d_model, n_heads=2, n_layers=1, max_seq_len=16, dropout=0.0)
    gpt = GPT(config, vocab_size=64)
    outputs: dict[str, set[str]] = {"Linear": set(), "Norm": set(), "Residual": set()}
    for module in gpt.modules():
        kind = "Norm" if isinstance(module, Norm) else type(module).__name__
        if kind in outputs:
            module.register_forward_hook(lambda _, given, output, kind=kind: outputs[kind].add(short(output)))
    ids = torch.randint(64, (2, 8))
    with Precision("bfloat16").autocast(), Types() as types:
        loss, _ = cross_entropy(gpt(ids).flatten(0, 1), ids.flatten())
    loss.backward()
    outputs["loss"] = {short(loss)}
    outputs["weights"] = {
        short(each) for weight in gpt.parameters() for each in (weight, weight.grad) if each is not None
    }
    x = torch.randn(8, d_model)
    exact, gradients = gradient("float32", x, small), dict[str, list[float]]()
    names: tuple[PrecisionName, ...] = ("float32", "bfloat16", "float16")
    for name, scaled in (*((name, False) for name in names), (names[-1], True)):
        given = gradient(name, x, small, scaled=scaled)
        lost, error = (given == 0).float().mean(), (given - exact).norm() / exact.norm()
        gradients[name + ", scaled" * scaled] = [float(lost), float(error)]
    return MixedPrecision(types.of, {kind: sorted(names) for kind, names in outputs.items()}, gradients, overflow(x))


def short(tensor: Tensor) -> str:
    """Returns the type of a tensor: bfloat16."""
    return str(tensor.dtype).removeprefix("torch.")


def gradient(name: PrecisionName, x: Tensor, small: float, *, scaled: bool = False) -> Tensor:
    """Returns the gradient of a layer's weight for a loss that is multiplied by ``small``."""
    torch.manual_seed(0)
    layer, precision = nn.Linear(x.shape[1], 16), Precision(name)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    with precision.autocast():
        output = layer(x)
    loss = small * output.float().square().mean()
    (precision.scaler.scale(loss) if scaled else loss).backward()
    if scaled:
        precision.scaler.unscale_(optimizer)
    assert layer.weight.grad is not None
    return layer.weight.grad


def overflow(x: Tensor) -> list[float]:
    """Takes a step on a large loss in float16; returns the loss scale before and after, and how far a weight moved."""
    layer, precision = nn.Linear(x.shape[1], 16), Precision("float16")
    optimizer, before = torch.optim.SGD(layer.parameters(), lr=1.0), layer.weight.detach().clone()
    with precision.autocast():
        loss = 1e6 * layer(x).float().mean()
    precision.scaler.scale(loss).backward()
    scale = precision.scaler.get_scale()
    precision.scaler.step(optimizer)
    precision.scaler.update()
    return [scale, precision.scaler.get_scale(), float((layer.weight.detach() - before).abs().max())]


def check(measured: MixedPrecision) -> Claims:
    """Returns whether each sentence of the answer holds."""
    outputs, gradients = measured.outputs, measured.gradients
    before, after, moved = measured.scale
    return {
        "products": outputs["Linear"] == ["bfloat16"] and measured.operators.get("addmm") == "bfloat16",
        "norms": outputs["Norm"] == outputs["Residual"] == ["float32"],
        "loss": outputs["loss"] == outputs["weights"] == ["float32"],
        "lost": gradients["float16"][0] > 0.9,
        "scaled": gradients["float16, scaled"][0] < 0.1 and gradients["float16, scaled"][1] < 0.01,
        "range": gradients["bfloat16"][0] < 0.1 and gradients["bfloat16"][1] < 0.02,
        "overflow": after == before / 2 and moved == 0,
    }


def facts(measured: MixedPrecision) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    gradients, (before, after, _) = measured.gradients, measured.scale
    lost, scaled, half = gradients["float16"][0], gradients["float16, scaled"][1], gradients["bfloat16"][1]
    shares = {"guess": f"{lost:.0%}", "lost": f"{lost:.0%}", "scaled": f"{scaled:.2%}", "half": f"{half:.2%}"}
    return {**shares, "before": f"{before:,.0f}", "after": f"{after:,.0f}"}


def show(measured: MixedPrecision, say: Say) -> list[Part]:
    """Returns the types of operators and of modules, and what is left of the gradient."""
    operators = list(measured.operators.items())
    modules = [(kind, ", ".join(names)) for kind, names in measured.outputs.items()]
    gradients = [(name, f"{lost:.0%}", f"{error:.2%}") for name, (lost, error) in measured.gradients.items()]
    return [
        Table(say("operators"), (say("operator"), say("type")), operators),
        Table(say("modules"), (say("module"), say("type")), modules),
        Table(say("gradients"), (say("precision"), f">{say('zeros')}", f">{say('error')}"), gradients),
    ]
