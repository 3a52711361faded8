"""Formats of export: how each stores weights."""

import pytest

from clearhead.errors import UsageError
from clearhead.verbs.exports.formats import FORMATS


def test_the_first_way_to_store_weights_is_the_default() -> None:
    assert [FORMATS[target].stored(target, None) for target in FORMATS] == ["float32", "float32", "float32", "f32"]
    assert FORMATS["gguf"].stored("gguf", "q8_0") == "q8_0"
    for target, rule in (("hf", "must be left out with --to hf"), ("gguf", "must be one of f32, f16, q8_0")):
        with pytest.raises(UsageError, match=f"--quantize 'int8': {rule}"):
            FORMATS[target].stored(target, "int8")  # type: ignore[index]
