"""One version: of the package, of its metadata and of what it writes."""

import re

import clearhead
from clearhead.version import VERSION
from tests.architecture import source


def test_the_package_has_it_and_the_build_reads_it() -> None:
    assert clearhead.__version__ == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    pyproject = (source.PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'path = "src/clearhead/version.py"' in pyproject
