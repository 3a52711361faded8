"""The lesson on the scale of scores is red for an attention that does not divide, or divides by another number."""

from collections.abc import Callable

import pytest

from clearhead.nn import attention
from tests.lessons import failing


@pytest.mark.parametrize(
    ("root", "red"),
    [(lambda size: 1.0, {"variance", "divided", "open"}), (float, {"variance", "divided"})],
    ids=["no division", "divided by d_k"],
)
def test_another_divisor_is_seen(root: Callable[[int], float], red: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Math:
        sqrt = staticmethod(root)

    monkeypatch.setattr(attention, "math", Math)
    assert red <= failing("scale", d_k=(8, 512), steps=1)
