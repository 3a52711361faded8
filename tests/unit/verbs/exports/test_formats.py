"""Formats of export: how each stores weights, and that a source which is no Transformer is refused."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError, UsageError
from clearhead.verbs.exports.formats import FORMATS, Source


def test_the_first_way_to_store_weights_is_the_default() -> None:
    assert [FORMATS[target].stored(target, None) for target in FORMATS] == ["float32", "float32", "f32"]
    assert FORMATS["gguf"].stored("gguf", "q8_0") == "q8_0"
    for target, rule in (("hf", "must be left out with --to hf"), ("gguf", "must be one of f32, f16, q8_0")):
        with pytest.raises(UsageError, match=f"--quantize 'int8': {rule}"):
            FORMATS[target].stored(target, "int8")  # type: ignore[index]


def test_counts_are_no_transformer(toy_baselines: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="is Ngram: --to gguf takes Transformers alone"):
        Source.open(toy_baselines["ngram"]).transformer("gguf")
