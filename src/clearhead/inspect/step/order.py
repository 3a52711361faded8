"""Hooks of every kind around one module, in the order in which they fire in a training step and in saving."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules import module as everywhere

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, Table, View, sizes
from clearhead.errors import UsageError, nearest
from clearhead.inspect.call import Batch, Loss, copied, mean_output, untouched
from clearhead.messages import Prose
from clearhead.meter.operators import tensors_of

Phase = Literal["forward", "backward", "optimizer step", "saving", "loading"]
OF_MODULE = ("forward_pre_hook", "forward_hook", "full_backward_pre_hook", "full_backward_hook")
OF_WEIGHT = ("hook", "post_accumulate_grad_hook")
OF_OUTPUT = ("output: hook", "output.grad_fn: prehook", "output.grad_fn: hook")
OF_STEP = ("step_pre_hook", "step_post_hook")
OF_SAVING = (
    "state_dict_pre_hook",
    "state_dict_post_hook",
    "load_state_dict_pre_hook",
    "load_state_dict_post_hook",
)


@dataclass(frozen=True)
class Fired:
    """A hook that was called, once or several times in a row."""

    kind: str
    """As it is registered: ``forward_hook``, ``forward_hook of all modules``, ``weight: hook`` of the module's weight,
    ``output: hook`` of the output that a forward hook gets."""
    phase: Phase
    times: int
    gets: str
    """Shapes of the tensors that it was given besides the module."""


@dataclass(frozen=True)
class HooksView(View):
    """The hooks around one module, in the order in which they fired."""

    module: str
    kind: str
    """Class of the module."""
    fired: list[Fired]
    silent: list[str]
    """Kinds that were registered and not called."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"hooks of {self.module} ({self.kind}) in one training step"

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [
            (
                str(number),
                Prose(fired.phase),
                Prose(fired.kind),
                str(fired.times) if fired.times > 1 else "",
                fired.gets,
            )
            for number, fired in enumerate(self.fired, 1)
        ]
        parts: list[Part] = [Table(self.title, (">", "phase", "hook", ">times", "gets"), rows)]
        parts += [Note(f"not called: {kind}", marked=True) for kind in self.silent]
        parts.append(Note("each is registered by register_ and its name; output is what a forward_hook gets"))
        parts.append(Note("pack and unpack are torch.autograd.graph.saved_tensors_hooks; only the module's are listed"))
        return parts


@checked
def hooks(model: nn.Module, batch: Batch, *, loss: Loss = mean_output, module: str | None = None) -> HooksView:
    """Registers hooks of every kind around a module, takes a training step, saves and loads, and lists who was called.

    The hooks note that they were called and change nothing. The optimizer is one of its own, which gets no gradients,
    so that no weight moves.

    Args:
        model: any module.
        batch: what ``loss`` takes, for the default what ``call`` does.
        loss: gives the scalar that is differentiated.
        module: name of the module, as in the view ``model``; None: the first linear layer, else the model itself.

    Raises:
        UsageError: there is no module of that name.
        ModelError: the model is compiled, or has no output to differentiate.
    """
    name = _first_linear(model) if module is None else module
    modules = dict(model.named_modules())
    if name not in modules:
        hint = nearest(name, [known for known in modules if known])
        raise UsageError(f"module {name!r}: a {type(model).__name__} has none of this name{hint}")
    with untouched(model, training=True):
        try:
            watch = _step(model, modules[name], copied(batch), loss, OF_MODULE)
        except RuntimeError as error:
            if "BackwardHookFunction" not in str(error):
                raise
            # what a module gives may not be overwritten in place while a full backward hook is on it
            watch = _step(model, modules[name], copied(batch), loss, OF_MODULE[:2])
    silent = [kind for kind in watch.kinds if kind not in {fired.kind for fired in watch.fired}]
    return HooksView(name or type(model).__name__, type(modules[name]).__name__, watch.fired, silent)


def _first_linear(model: nn.Module) -> str:
    return next((name for name, module in model.named_modules() if isinstance(module, nn.Linear)), "")


def _step(model: nn.Module, module: nn.Module, batch: Batch, loss: Loss, kinds: tuple[str, ...]) -> "_Watch":
    watch = _Watch()
    with ExitStack() as stack:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0) if next(model.parameters(), None) is not None else None
        _register(watch, module, kinds, optimizer, stack)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(watch.pack, watch.unpack))
        value = loss(model, batch)
        watch.phase = "backward"
        with warnings.catch_warnings():
            # hooks of all modules are on those too whose inputs are ids
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            value.backward()
        watch.phase = "optimizer step"
        if optimizer is not None:
            optimizer.zero_grad()
            optimizer.step()
        watch.phase = "saving"
        saved = module.state_dict()
        watch.phase = "loading"
        module.load_state_dict(saved)
    return watch


def _register(watch: "_Watch", module: nn.Module, kinds: tuple[str, ...], optimizer: Any, stack: ExitStack) -> None:
    """Registers a hook of each kind; those of all modules note that of ``module`` alone."""

    def keep(owner: Any, kind: str, hook: Callable[..., None]) -> None:
        stack.callback(getattr(owner, f"register_{kind}")(hook).remove)

    for kind in kinds:
        keep(module, kind, watch.noting(kind))
        keep(everywhere, f"module_{kind}", watch.noting(f"{kind} of all modules", of=module))
    weight = next((part for part in module.parameters(recurse=False) if part.requires_grad), None)
    for kind in OF_WEIGHT if weight is not None else ():
        keep(weight, kind, watch.noting(f"weight: {kind}"))
    for kind in OF_STEP if optimizer is not None else ():
        keep(optimizer, kind, watch.noting(f"optimizer: {kind}"))
    for kind in OF_SAVING:
        keep(module, kind, watch.noting(kind))
    watch.kinds += [*OF_OUTPUT]
    keep(module, "forward_pre_hook", watch.entered)
    keep(module, "forward_hook", watch.left)


class _Watch:
    """Notes which hooks are called."""

    def __init__(self) -> None:
        self.fired: list[Fired] = []
        self.kinds: list[str] = []
        """Those that were registered."""
        self.phase: Phase = "forward"
        self._inside = 0

    def noting(self, kind: str, *, of: nn.Module | None = None) -> Callable[..., None]:
        """Returns a hook that notes its call; one of all modules only for the module ``of``."""
        self.kinds.append(kind)

        def note(*given: Any) -> None:
            if of is None or given[0] is of:
                self._note(kind, given)

        return note

    def entered(self, *given: Any) -> None:
        """Notes that the module runs."""
        self._inside += 1

    def left(self, module: nn.Module, args: Any, output: Any) -> None:
        """Registers hooks on what the module gave, which are gone with it."""
        self._inside -= 1
        tensor = next((part for part in tensors_of(output) if part.grad_fn is not None), None)
        if tensor is not None and tensor.grad_fn is not None:
            of_tensor, of_node, of_node_after = OF_OUTPUT
            tensor.register_hook(lambda *given: self._note(of_tensor, given))
            tensor.grad_fn.register_prehook(lambda *given: self._note(of_node, given))
            tensor.grad_fn.register_hook(lambda *given: self._note(of_node_after, given))

    def pack(self, tensor: Tensor) -> Any:
        """Notes what is saved while the module runs."""
        if not self._inside:
            return tensor
        self._note("saved tensor: pack", (tensor,))
        return (tensor.detach(),)

    def unpack(self, packed: Any) -> Tensor:
        """Notes that it is asked for."""
        if isinstance(packed, Tensor):
            return packed
        (tensor,) = packed
        self._note("saved tensor: unpack", packed)
        return tensor

    def _note(self, kind: str, given: Any) -> None:
        shapes = ", ".join(dict.fromkeys(sizes(tensor.shape) for tensor in tensors_of(given)))
        last = self.fired[-1] if self.fired else None
        if last and (last.kind, last.phase, last.gets) == (kind, self.phase, shapes):
            self.fired[-1] = Fired(kind, self.phase, last.times + 1, shapes)
        else:
            self.fired.append(Fired(kind, self.phase, 1, shapes))
