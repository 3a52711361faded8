"""The exception tree's exit codes, and the nearest right name."""

import pytest

from clearhead.errors import ClearheadError, DataError, ModelError, UsageError, nearest


def test_exit_codes_are_those_of_the_documentation() -> None:
    codes = {kind: kind.exit_code for kind in (ClearheadError, UsageError, DataError, ModelError)}
    assert codes == {ClearheadError: 1, UsageError: 2, DataError: 3, ModelError: 4}
    assert all(issubclass(kind, ClearheadError) for kind in codes)


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("warmup_step", ["warmup_steps", "max_steps", "lr"], "; did you mean 'warmup_steps'?"),
        ("xyz", ["b", "a"], "; known: a, b"),
        ("xyz", [], ""),
    ],
)
def test_nearest(given: str, known: list[str], expected: str) -> None:
    assert nearest(given, known) == expected
