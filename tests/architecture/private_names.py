"""Which private names of PyTorch the source uses, as the syntax trees show it."""

import ast
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tests.architecture import source

LIST = source.ROOT / "tests" / "architecture" / "private_names.txt"
OF_PYTHON = {"_exit", "_asdict", "_replace", "_getframe"}
WRAPPED = "__wrapped__"

_x = torch.ones(1, requires_grad=True)
OWNERS: dict[str, Any] = {
    "Module": torch.nn.Identity(),
    "Storage": _x.untyped_storage(),
    "Node": (_x * _x).grad_fn,
    "Operator": torch.ops.aten.add.Tensor,
    "TorchDispatchMode": TorchDispatchMode,
    "Tensor": _x,
    "torch": torch,
    "torch.ops.aten": torch.ops.aten,
    "Formula": flop_registry[torch.ops.aten.mm],
}
"""What an object may be whose kind a syntax tree does not tell; the first that has a name is its owner."""
OWN_OPERATORS = "torch.ops.clearhead_"  # which are registered here
OWNED = {"_version": "Tensor"}  # modules have another of that name


def used() -> dict[str, set[str]]:
    """Returns the private names and the rooms that use them; a name that nothing in torch has begins with ``?``."""
    ours = {name for path in source.modules(source.PACKAGE) for name in _defined(source.tree(path))}
    names: dict[str, set[str]] = {}
    for path in source.modules(source.PACKAGE):
        room = path.relative_to(source.PACKAGE).parts[0].removesuffix(".py")
        for name in uses(source.tree(path), ours):
            if name.startswith(OWN_OPERATORS):
                continue
            names.setdefault(name, set()).add(room)
    return names


def uses(tree: ast.Module, ours: set[str]) -> set[str]:
    """Returns the private names of torch in one module; ``ours`` are names of the project's own."""
    return _Uses(tree, ours).names


def has(name: str) -> bool:
    """Whether the PyTorch installed here has a name of the list; ``*`` at its end is any ending."""
    owner, _, last = name.rpartition(".")
    if owner in OWNERS:
        value = OWNERS[owner]
        return any(each.startswith(last[:-1]) for each in dir(value)) if last.endswith("*") else hasattr(value, last)
    found: Any = torch
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            return False
    return True


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yields the names that a module gives to something of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _owned(name: str) -> str | None:
    """Returns a name with its first owner."""
    if name.startswith("aten::"):
        return f"torch.ops.aten.{name.removeprefix('aten::')}"
    if name in OWNED:
        return f"{OWNED[name]}.{name}"
    for owner, value in OWNERS.items():
        if hasattr(value, name):
            return f"{owner}.{name}"
        if name.endswith("_") and any(each.startswith(name) for each in dir(value)):
            return f"{owner}.{name}*"
    return None


class _Uses(ast.NodeVisitor):
    """Collects the private names of torch in one module."""

    def __init__(self, tree: ast.Module, ours: set[str]) -> None:
        self.names: set[str] = set()
        self._ours, self._imported = ours, dict[str, str]()
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.partition(".")[0]
            self._imported[alias.asname or first] = alias.name if alias.asname else first
            self._dotted(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self._imported[alias.asname or alias.name] = name
            self._dotted(name)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, root = [node.attr], node.value
        while isinstance(root, ast.Attribute):
            parts.append(root.attr)
            root = root.value
        parts.reverse()
        dotted = self._imported.get(root.id, "") if isinstance(root, ast.Name) else ""
        if dotted.split(".")[0] == "torch":
            if any(map(is_private, parts)) or dotted == "torch":
                self._dotted(".".join([dotted, *parts]))
            return
        for place, part in enumerate(parts):
            self._attribute(part, of_ours=place == 0 and _is_self(root))
        self.visit(root)

    def visit_Call(self, node: ast.Call) -> None:
        """``meter.torch_names`` takes the module and the name as texts."""
        match node:
            case ast.Call(
                func=ast.Name(id="private_in" | "base_class"),
                args=[ast.Constant(value=str(module)), ast.Constant(value=str(name)), *_],
            ):
                self._dotted(f"{module}.{name}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """An attribute or an operator may be asked for by its name."""
        if not isinstance(node.value, str):
            return
        name = node.value.removeprefix("aten::")
        is_name = name == WRAPPED or (is_private(name) and name.isidentifier())
        if is_name and (owned := _owned(node.value)):
            self.names.add(owned)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A method may take the place of a private one of a base class."""
        bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
        for owner in OWNERS.keys() & bases:
            methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            self.names |= {f"{owner}.{name}" for name in methods if is_private(name) and hasattr(OWNERS[owner], name)}
        self.generic_visit(node)

    def _attribute(self, name: str, *, of_ours: bool) -> None:
        if is_private(name) and name not in OF_PYTHON and not (of_ours and name in self._ours):
            owned = _owned(name)
            if owned or name not in self._ours:
                self.names.add(owned or f"?.{name}")

    def _dotted(self, name: str) -> None:
        parts = name.split(".")
        internal = parts[1:2] == ["ops"] and len(parts) > 3 and parts[2] != "aten"
        if parts[0] == "torch" and (internal or any(map(is_private, parts))):
            self.names.add(name)
