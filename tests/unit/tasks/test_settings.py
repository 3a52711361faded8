"""Settings of a call have the values and the error lines of a recipe's."""

import math
from typing import Any

import numpy as np
import pytest

from clearhead.config import as_tree, parse
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import UsageError
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.settings import settled


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (GenerationConfig, {"stop": ("。", "x"), "overlong": "error"}),
        (GenerationConfig, {"max_new": np.int64(3), "stop": ["。"]}),
        (SamplingConfig, {"temperature": 2, "top_k": np.int32(4)}),
        (SamplingConfig, {"temperature": 0.5, "seed": 2**64 - 1}),
        *((SamplingConfig, {"temperature": value}) for value in (-1, 1001.0, math.nan, math.inf, True, "1", None)),
        *((SamplingConfig, {"seed": value}) for value in (2**64, -1, 1.0, False)),
        *((GenerationConfig, {"stop": value}) for value in ((1,), "x", ("\udcff",), None)),
        (GenerationConfig, {"overlong": "windows"}),
    ],
    ids=ascii,
)
def test_settings_are_settled_as_a_recipe_is_parsed(kind: Any, values: dict[str, Any]) -> None:
    """With the same types and the same words, though the parser is asked for wrong ones alone."""
    config, results = kind(), list[Any]()
    for name, value in values.items():
        object.__setattr__(config, name, value)  # a wrong one too, which the tests' checks of types refuse
    for read in (settled, lambda config, source: parse(kind, as_tree(config), source=source)):
        try:
            tree = as_tree(read(config, source="here"))
            results.append((tree, {name: type(value) for name, value in tree.items()}))
        except UsageError as error:
            results.append(str(error))
    assert results[0] == results[1]
