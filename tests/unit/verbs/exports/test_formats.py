"""Formats of export: how each stores weights, and what it leaves out of an adopted tokenizer."""

import json
from pathlib import Path

import pytest

from clearhead.errors import UsageError
from clearhead.tasks.family import LearnedFamily
from clearhead.verbs.exchange import import_run
from clearhead.verbs.exports.formats import FORMATS, Source, Target
from tests.foreign import write_gpt2


def test_the_first_way_to_store_weights_is_the_default() -> None:
    assert [FORMATS[target].stored(target, None) for target in FORMATS] == [
        *("float32", "float32", "float32", "f32", "float32")
    ]
    assert FORMATS["gguf"].stored("gguf", "q8_0") == "q8_0"
    for target, rule in (("hf", "must be left out with --to hf"), ("gguf", "must be one of f32, f16, q8_0")):
        with pytest.raises(UsageError, match=f"--quantize 'int8': {rule}"):
            FORMATS[target].stored(target, "int8")  # type: ignore[index]


@pytest.mark.parametrize("target", ["ctranslate2", "onnx"])
def test_an_adopted_tokenizer_neither_pads_nor_cuts_where_its_library_reads_it(target: Target, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    theirs = write_gpt2(tmp_path / "theirs")
    own = Tokenizer.from_file(str(theirs / "tokenizer.json"))
    plain = own.encode("an apple and a pear").ids
    own.enable_padding(length=64)
    own.enable_truncation(2)
    own.save(str(theirs / "tokenizer.json"))
    source, out = Source.open(import_run(theirs, tmp_path / "run")[0]), tmp_path / "out"
    out.mkdir()
    FORMATS[target].write(source, out, "float32")
    assert Tokenizer.from_file(str(out / "tokenizer.json")).encode("an apple and a pear").ids == plain
    assert json.loads((theirs / "tokenizer.json").read_text())["padding"] is not None


@pytest.mark.parametrize("target", ["onnx", "ctranslate2"])
def test_the_name_of_a_special_piece_in_a_text_is_text_there_too(
    target: Target, toy_lm_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(target, target))
    source, text = Source.open(toy_lm_run), "He <unk> it </s> and <pad>."
    assert isinstance(source.family, LearnedFamily)
    evidence = source.family.evidence(source.trained, None, 2)
    (tmp_path / "out").mkdir()
    FORMATS[target].write(source, tmp_path / "out", FORMATS[target].stored(target, None))
    there = FORMATS[target].run(source, tmp_path / "out", evidence)
    assert there.encode([text]) == [source.parts.tokenizer.encode(text)]
