"""Words of a training text are counted, plain or packed, and again where the text has changed."""

import gzip
from pathlib import Path

from clearhead.data.corpus import ParallelFiles, ParallelRows
from clearhead.tasks.translation.trust.frequencies import word_counts


def test_words_of_the_target_are_counted(tmp_path: Path) -> None:
    path, packed, rows = (tmp_path / name for name in ("train.en", "train.en.gz", "train.tsv"))
    path.write_text("the cat.\nThe cat\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    rows.write_text("die Katze.\tthe cat.\nDie Katze\tThe cat\n", encoding="utf-8")
    expected = {"the": 1, "cat": 2, ".": 1, "The": 1}
    plain = ParallelFiles(path, path)
    for files in (plain, ParallelFiles(path, packed), ParallelRows(rows, rows, ("de", "en"))):
        assert word_counts(files, 1, "13a") == expected
    path.write_text("dog\n", encoding="utf-8")
    assert word_counts(plain, 2, "13a") == {"dog": 1}
