"""What users script against stays as it is: public names and command-line options equal their snapshots."""

import importlib
import operator

import pytest

from tests.architecture import freeze


@pytest.mark.parametrize(
    "file_name",
    [
        "public_names.txt",
        "cli_options.txt",
    ],
)
def test_surface_is_frozen(file_name: str) -> None:
    frozen = (freeze.HERE / file_name).read_text(encoding="utf-8").splitlines()
    current = freeze.SNAPSHOTS[file_name]()
    gone, new = sorted(set(frozen) - set(current)), sorted(set(current) - set(frozen))
    assert current == frozen, f"gone: {gone}; new: {new}; if this is meant: {freeze.COMMAND}"


def test_every_public_name_is_there() -> None:
    package = importlib.import_module("clearhead")
    names = freeze.public_names()
    assert [name for name in names if operator.attrgetter(name)(package) is None] == []
    assert {name for name in names if "." not in name} <= set(dir(package))
    assert {f"types.{name}" for name in dir(package.types)} <= set(names)
