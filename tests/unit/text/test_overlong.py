"""Every kind of over-long text has policies from the one list, in the same words."""

import ast
from typing import get_args

from clearhead.text import overlong
from tests.architecture import source

KINDS = [name for name in vars(overlong) if name.startswith("Overlong") and name != "Overlong"]


def test_all_policies_are_of_the_list_and_each_is_used() -> None:
    every = [word for name in KINDS for word in get_args(getattr(overlong, name))]
    assert set(every) == set(get_args(overlong.Overlong))
    assert all("error" in get_args(getattr(overlong, name)) for name in KINDS), "whoever wants may be told"


def test_each_policy_is_explained() -> None:
    text = source.text(source.PACKAGE / "text" / "overlong.py")
    assert [word for word in get_args(overlong.Overlong) if f"\n- {word}: " not in text] == []


def test_no_other_module_has_a_list_of_its_own() -> None:
    words = set(get_args(overlong.Overlong))
    lists = [
        f"{source.name(path)}:{node.lineno}"
        for path in source.modules(source.PACKAGE)
        if path.stem != "overlong"
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"
        if len(words & {part.value for part in ast.walk(node.slice) if isinstance(part, ast.Constant)}) > 1
    ]
    assert lists == []
