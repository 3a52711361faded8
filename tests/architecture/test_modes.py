"""No generator holds a mode of PyTorch while it waits: modes belong to threads, and another may resume or collect it.

A generator that yields inside of ``with torch.inference_mode():`` leaves its caller in that mode. When another thread
ends it, the mode stays on in the first one and is taken off the second, which never had it. It has to enter the mode
for each step, as PyTorch itself does for a generator that is decorated. A context manager holds a mode for whoever
enters it, and that is what it is for; so it counts as a mode itself.
"""

import ast
from collections.abc import Iterator

import pytest
import torch

from tests.architecture import source

MODES = {"inference_mode", "no_grad", "enable_grad", "set_grad_enabled", "autocast", "set_multithreading_enabled"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def last(node: ast.AST) -> str:
    """Returns the last name of a call or an attribute: ``no_grad`` of ``torch.no_grad()``."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def inside(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yields all nodes of a body, but nothing of the functions and classes in it."""
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def waits(nodes: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside(nodes))


def is_manager(function: Function) -> bool:
    return any(last(decorator) in ("contextmanager", "asynccontextmanager") for decorator in function.decorator_list)


def holds(function: Function, modes: set[str]) -> bool:
    """Whether a generator yields inside of one of ``modes``, or enters one on a stack or by hand."""
    if not waits(function.body):
        return False
    entered: list[ast.AST] = []
    for node in inside(function.body):
        if isinstance(node, ast.With | ast.AsyncWith) and waits(node.body):
            entered += [item.context_expr for item in node.items]
        elif isinstance(node, ast.Call) and last(node) in ("enter_context", "__enter__"):
            entered.append(node)
    return any(last(call) in modes for node in entered for call in ast.walk(node) if isinstance(call, ast.Call))


def holding(functions: list[Function]) -> list[str]:
    """Returns the generators that hold a mode, also by a context manager of our own that does."""
    modes = set(MODES)
    managers = [function for function in functions if is_manager(function)]
    while found := {function.name for function in managers if holds(function, modes)} - modes:
        modes |= found
    return [function.name for function in functions if not is_manager(function) and holds(function, modes)]


def test_no_generator_holds_a_mode() -> None:
    functions = [function for path in source.modules(source.PACKAGE) for function in source.functions(path)]
    assert sum(waits(function.body) for function in functions) > 30
    assert holding(functions) == []


BY_THE_STEP = "def g():\n  while True:\n    with torch.inference_mode():\n      step()\n    yield"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (BY_THE_STEP, []),
        ("def g():\n  with torch.inference_mode():\n    yield 1", ["g"]),
        ("def g():\n  with a, torch.no_grad() if fast else nullcontext():\n    for x in y:\n      yield from x", ["g"]),
        ("@torch.no_grad()\ndef g():\n  yield 1", []),
        ("def g():\n  with ExitStack() as stack:\n    stack.enter_context(torch.no_grad())\n    yield 1", ["g"]),
        ("def g():\n  torch.inference_mode().__enter__()\n  yield 1", ["g"]),
        ("def g():\n  with torch.no_grad():\n    def h():\n      yield 1\n    return h", []),
        ("@contextmanager\ndef m():\n  with torch.no_grad():\n    yield", []),
        ("@contextmanager\ndef m():\n  with torch.no_grad():\n    yield\ndef g():\n  with m():\n    yield 1", ["g"]),
        ("@contextmanager\ndef m():\n  with torch.no_grad():\n    f()\n  yield\ndef g():\n  with m():\n    yield", []),
    ],
)
def test_such_generators_are_found(code: str, names: list[str]) -> None:
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, Function)]
    assert holding(functions) == names


@pytest.mark.parametrize("by_the_step", [True, False])
def test_pytorch_enters_the_mode_of_a_decorated_generator_by_the_step(by_the_step: bool) -> None:
    """And what this file is about: held across a yield the mode leaks."""

    @torch.inference_mode()
    def decorated() -> Iterator[bool]:
        yield torch.is_inference_mode_enabled()

    def holding_on() -> Iterator[bool]:
        with torch.inference_mode():
            yield torch.is_inference_mode_enabled()

    steps = decorated() if by_the_step else holding_on()
    try:
        assert next(steps)
        assert torch.is_inference_mode_enabled() is not by_the_step
    finally:
        steps.close()  # type: ignore[attr-defined]
