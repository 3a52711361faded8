"""Every module says what lives there, and every field of a config says what it sets."""

import ast
from pathlib import Path

import pytest

from tests.architecture import source

MOST_FIELDS = 12


def configs() -> list[tuple[Path, ast.ClassDef]]:
    """Returns every dataclass named ...Config."""
    return [
        (path, node)
        for path in source.modules(source.PACKAGE)
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config")
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


def fields(config: ast.ClassDef) -> list[ast.AnnAssign]:
    return [
        node
        for node in config.body
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation)
    ]


def undocumented(config: ast.ClassDef, lines: list[str]) -> list[str]:
    """Returns the fields without a line of their own: a string below, or a comment above, behind or below."""
    starts = {node.lineno for node in config.body}
    missing = []
    for field, after in zip(config.body, [*config.body[1:], None], strict=True):
        if field not in fields(config):
            continue
        end = field.end_lineno or field.lineno
        has_string = (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
        above = lines[field.lineno - 2].strip().startswith("#")
        behind = "  #" in lines[end - 1][field.end_col_offset or 0 :]
        # a comment below belongs to this field only where it does not touch the next one
        below = end < len(lines) and lines[end].strip().startswith("#") and end + 2 not in starts
        if not (has_string or above or behind or below):
            missing.append(ast.unparse(field.target))
    return missing


def test_every_module_says_what_lives_there() -> None:
    folders = [source.PACKAGE, source.ROOT / "benchmarks", source.ROOT / "examples"]
    silent = [
        source.name(path)
        for folder in folders
        for path in source.modules(folder)
        if not ast.get_docstring(source.tree(path))
    ]
    assert silent == []


def test_every_config_field_says_what_it_sets() -> None:
    silent = {
        f"{source.name(path)} {config.name}": found
        for path, config in configs()
        if (found := undocumented(config, source.text(path).splitlines()))
    }
    assert silent == {}


def test_configs_are_small() -> None:
    large = {config.name: len(fields(config)) for _, config in configs() if len(fields(config)) > MOST_FIELDS}
    assert large == {}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('x: int = 1\n    """One."""', []),
        ("# one\n    x: int = 1", []),
        ("x: int = 1  # one", []),
        ("x: int = 1\n    # one\n\n    y: int = 2  # two", []),
        ("x: int = 1", ["x"]),
        ("x: int = 1\n    # two\n    y: int = 2", ["x"]),
    ],
)
def test_the_rule_itself(field: str, expected: list[str]) -> None:
    code = f'class AConfig:\n    """Doc."""\n\n    {field}\n'
    config = ast.parse(code).body[0]
    assert isinstance(config, ast.ClassDef)
    assert undocumented(config, code.splitlines()) == expected
