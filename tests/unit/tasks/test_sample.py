"""What a model is looked at with: shapes that are written, rows that fit, pieces that are the same at every call."""

from pathlib import Path

import pytest

from clearhead.errors import DataError, UsageError
from clearhead.runs.text_parts import load_text_parts
from clearhead.tasks.sample import Sample, Shape


def test_shapes_of_a_batch() -> None:
    assert Shape.parse("4X16") == Shape(4, 16)
    for text in ("4", "0x4", "4x1", "axb", "-1x5"):
        with pytest.raises(UsageError, match="must be ROWSxLENGTH"):
            Shape.parse(text)


def test_rows_fit_and_hold_no_special_piece(toy_lm_run: Path) -> None:
    tokenizer = load_text_parts(toy_lm_run).tokenizer
    sample = Sample(shape=Shape(3, 10_000))
    rows = sample.rows(tokenizer, 20)
    assert [len(row) for row in rows] == [20] * 3
    assert [len(row) for row in sample.rows(tokenizer, 21, pair=True)] == [10] * 3
    assert rows == sample.rows(tokenizer, 20)
    assert rows != sample.rows(tokenizer, 20, draw=1)
    assert not {piece for row in rows for piece in row} & set(tokenizer.ids.never)


def test_a_text_is_encoded_or_refused(toy_lm_run: Path) -> None:
    tokenizer = load_text_parts(toy_lm_run).tokenizer
    assert Sample("an apple").rows(tokenizer, 48) == [tokenizer.encode("an apple")]
    assert Sample("an\tapple").rows(tokenizer, 48, pair=True) == tokenizer.encode_batch(["an", "apple"])
    with pytest.raises(DataError, match=r"pieces, the model has room for 48"):
        Sample("apple " * 100).rows(tokenizer, 48)
