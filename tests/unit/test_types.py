"""The names of ``clearhead.types``: each is where it says, and no torch is loaded for the list of them."""

import ast
import inspect
import subprocess
import sys

import pytest

from clearhead import types


def test_every_name_is_the_class_of_its_module() -> None:
    for name in types.__all__:
        kind = getattr(types, name)
        assert inspect.isclass(kind)
        assert (kind.__name__, kind.__module__) == (name, types._HOMES[name])
    assert sorted(types._HOMES) == sorted(types.__all__) == dir(types)


def test_type_checkers_are_told_the_same() -> None:
    tree = ast.parse(inspect.getsource(types))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == types._HOMES


def test_importing_it_is_light() -> None:
    code = "import sys, clearhead.types; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = types.Nothing
