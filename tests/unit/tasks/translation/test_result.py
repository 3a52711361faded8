"""What a translator returns, shown short; the options that type checkers know are those that the methods have."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

from clearhead.decode.trace import TraceStep
from clearhead.tasks.translation.result import SearchOptions, TranslateOptions, Translation
from clearhead.tasks.translation.translator import Trace, Translator


@pytest.mark.parametrize(
    ("method", "options"), [(Translator.translate, TranslateOptions), (Translator.n_best, SearchOptions)]
)
def test_options_are_those_of_the_method(method: object, options: type) -> None:
    """Overloads name them once more, so that a result has its type."""
    own = set(inspect.signature(method).parameters) - {"self", "texts", "config", "n_best"}  # type: ignore[arg-type]
    assert set(get_type_hints(options)) == own


def test_reprs_are_short() -> None:
    pieces, numbers = ["piece"] * 500, [-0.123456789] * 500
    translation = Translation("a" * 5000, -1.0, -0.5, pieces, numbers, pieces, target_ids=[5] * 500)
    step = TraceStep([1] * 500, [(1, 0.5)] * 500, 1, 5, 5)
    trace = Trace("a", "b", pieces, [1] * 500, {"embedding": [1, 2, 3]}, [step] * 50, dict(enumerate(pieces)))
    for shown in (translation, trace, step):
        assert len(repr(shown)) < 600
        assert repr(shown).startswith(f"{type(shown).__name__}({fields(shown)[0].name}=")
