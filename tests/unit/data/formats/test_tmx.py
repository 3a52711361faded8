"""Translation memories give the pairs of two languages, whatever else they hold."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from clearhead.data.formats.tmx import tmx_pairs
from clearhead.errors import DataError

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4"><header/><body>\n'
UNITS = """<tu><note>a note</note><tuv xml:lang="EN-us"><seg>A &amp; b</seg></tuv><tuv xml:lang="de"><seg>A und
  b</seg></tuv></tu>
<tu><tuv lang="de_DE"><seg>Ein <bpt i="1">&lt;b&gt;</bpt>Hund<ept i="1">&lt;/b&gt;</ept> <hi>läuft</hi>.</seg></tuv>
<tuv lang="en"><seg>A <ph/>dog runs.</seg></tuv><tuv lang="en"><seg>another</seg></tuv></tu>
<tu><tuv xml:lang="fr"><seg>chien</seg></tuv><tuv xml:lang="de"><seg>Hund</seg></tuv></tu>
"""
TAIL = "</body></tmx>\n"


def test_units_are_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.tmx").write_text(HEAD + UNITS + TAIL, encoding="utf-8")
    (tmp_path / "a.tmx.gz").write_bytes(gzip.compress((HEAD + UNITS + TAIL).encode()))
    expected = [("A & b", "A und b"), ("A dog runs.", "Ein Hund läuft."), ("", "Hund")]
    for name in ("a.tmx", "a.tmx.gz"):
        assert list(tmx_pairs(tmp_path / name, "en", "de")) == expected
    assert list(tmx_pairs(tmp_path / "a.tmx", "de", "en-GB"))[1] == expected[1][::-1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + UNITS + "<tu></body></tmx>", "a.tmx line 9: not TMX .mismatched tag, column"),
        (HEAD + "<tu>&nothing;</tu>" + TAIL, "a.tmx line 4: not TMX .undefined entity"),
        ("no XML", "a.tmx line 1: not TMX .syntax error"),
        (HEAD + TAIL, "a.tmx: not TMX, or without a translation unit"),
        (HEAD + UNITS, "not TMX .no element found"),
    ],
)
def test_what_is_broken_is_told_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.tmx").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(tmx_pairs(tmp_path / "a.tmx", "en", "de"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (300, 6000):
        (tmp_path / "a.tmx").write_text(HEAD + UNITS * count + TAIL, encoding="utf-8")
        tracemalloc.start()
        assert sum(1 for _ in tmx_pairs(tmp_path / "a.tmx", "en", "de")) == 3 * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]
