"""Words of a training text are counted, plain or packed, and again where the text has changed."""

import gzip
from pathlib import Path

from clearhead.tasks.translation.trust.frequencies import word_counts


def test_words_are_counted(tmp_path: Path) -> None:
    path, packed = tmp_path / "train.en", tmp_path / "train.en.gz"
    path.write_text("the cat.\nThe cat\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    expected = {"the": 1, "cat": 2, ".": 1, "The": 1}
    assert word_counts(path, 1, "13a") == word_counts(packed, 1, "13a") == expected
    path.write_text("dog\n", encoding="utf-8")
    assert word_counts(path, 2, "13a") == {"dog": 1}
