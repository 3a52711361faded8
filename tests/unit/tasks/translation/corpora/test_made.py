"""A made corpus has a line for every line, and is the same to the byte wherever its making was cut off."""

import gzip
import json
from pathlib import Path

import pytest

from clearhead.errors import DataError, UsageError
from clearhead.runs.lock import locked
from clearhead.tasks.translation.corpora.made import Answer, MadeCorpus, make_corpus

TEXT = "\ufeffone\ntwo\r\n\n  \nb\u2028d\nlast".encode().replace(b"b\xe2\x80\xa8d", b"b\xe2\x80\xa8d\n\xff\xfe")


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def mono(tmp_path: Path) -> Path:
    (tmp_path / "mono.en").write_bytes(TEXT)
    return tmp_path / "mono.en"


def make(lines: list[str], first: int, before: str) -> list[Answer]:
    return [
        Answer(f"{first + number}:{last}>{line.upper()}" if line.strip() else "", "odd" if "o" in line else "")
        for number, (last, line) in enumerate(zip([before, *lines], lines, strict=False))
    ]


def made(mono: Path, out: Path, make: object = make, *, chunk: int = 2, **settings: object) -> MadeCorpus:
    return make_corpus(mono, out, make, given="en", made="de", settings=settings, chunk=chunk)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_line_stands_beside_every_line(mono: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    corpus = make_corpus(
        mono,
        tmp_path / "out",
        make,
        given="en",
        made="de",
        settings={},
        chunk=3,
        progress=lambda *numbers: said.append(numbers),
    )
    assert contents(tmp_path / "out").keys() == {"corpus.json", "train.de", "train.en"}
    texts = [(tmp_path / "out" / f"train.{side}").read_text(encoding="utf-8").split("\n") for side in ("en", "de")]
    assert texts[0] == ["one", "two", "", "  ", "b\u2028d", "", "last", ""]
    assert texts[1] == ["0:>ONE", "1:one>TWO", "", "", "4:  >B\u2028D", "", "6:>LAST", ""]
    assert said == [(0, 7), (3, 7), (6, 7), (7, 7)]
    assert (corpus.lines, corpus.of, corpus.empty) == (7, 7, 2)
    assert corpus.problems == {"not UTF-8": 1, "odd": 2}
    assert json.loads((tmp_path / "out" / "corpus.json").read_bytes())["sizes"] == corpus.sizes
    (tmp_path / "mono.gz").write_bytes(gzip.compress(TEXT))
    made(tmp_path / "mono.gz", tmp_path / "packed", chunk=3)
    assert contents(tmp_path / "packed") == contents(tmp_path / "out")


@pytest.mark.parametrize("calls", range(4))
def test_it_goes_on_where_it_was_killed(mono: Path, tmp_path: Path, calls: int) -> None:
    made(mono, tmp_path / "whole")
    left = calls

    def mortal(lines: list[str], first: int, before: str) -> list[Answer]:
        nonlocal left
        if not left:
            raise KilledError
        left -= 1
        return make(lines, first, before)

    with pytest.raises(KilledError):
        made(mono, tmp_path / "cut", mortal)
    assert not (tmp_path / "cut").exists()
    half = tmp_path / "cut.unfinished"
    with (half / "train.de").open("ab") as file:  # written, and not yet in the record
        file.write(b"half a li")
    seen: list[int] = []
    made(mono, tmp_path / "cut", lambda lines, *where: seen.append(where[0]) or make(lines, *where))  # type: ignore[func-returns-value]
    assert seen[0] == 2 * calls
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert not half.exists()


@pytest.mark.parametrize("left", [-1, 0])
def test_a_file_that_lost_lines_is_not_gone_on_with(left: int, mono: Path, tmp_path: Path) -> None:
    def once(lines: list[str], first: int, before: str) -> list[Answer]:
        if first:
            raise KilledError
        return make(lines, first, before)

    with pytest.raises(KilledError):
        made(mono, tmp_path / "cut", once)
    file = tmp_path / "cut.unfinished" / "train.de"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DataError, match=r"train.de' is shorter than its corpus.json says: delete the folder"):
        made(mono, tmp_path / "cut")
    file.unlink()
    with pytest.raises(DataError, match="is shorter than"):
        made(mono, tmp_path / "cut")


def test_what_is_finished_stays(mono: Path, tmp_path: Path) -> None:
    first = made(mono, tmp_path / "out", method="beam")
    before = (tmp_path / "out" / "train.de").stat().st_mtime_ns

    def never(lines: list[str], first: int, before: str) -> list[Answer]:
        raise KilledError

    assert made(mono, tmp_path / "out", never, method="beam") == first
    assert (tmp_path / "out" / "train.de").stat().st_mtime_ns == before


def test_what_is_something_else_is_not_gone_on_with(mono: Path, tmp_path: Path) -> None:
    made(mono, tmp_path / "out", method="beam")
    with pytest.raises(UsageError, match="was begun with method = 'beam', not 'sample'; name another folder"):
        made(mono, tmp_path / "out", method="sample")
    with pytest.raises(UsageError, match="was begun with buffer = 2, not 3"):
        made(mono, tmp_path / "out", method="beam", chunk=3)
    mono.write_bytes(TEXT + b" line")
    with pytest.raises(UsageError, match="was begun with text = "):
        made(mono, tmp_path / "out", method="beam")
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="there': exists, and is not a folder that this verb has made"):
        made(mono, tmp_path / "there")
    half = tmp_path / "half.unfinished"
    half.mkdir()
    with (
        locked(half),
        pytest.raises(UsageError, match=r"half.unfinished' is in use by another thread of this process"),
    ):
        made(mono, tmp_path / "half")
    (half / "train.de").symlink_to(mono)
    with pytest.raises(UsageError, match=r"train.de' is a link"):
        made(mono, tmp_path / "half")
    (half / "corpus.json").write_text('{"other": 1}')
    with pytest.raises(UsageError, match=r"corpus.json is of another kind"):
        made(mono, tmp_path / "half")


def test_text_that_changes_meanwhile_is_an_error(mono: Path, tmp_path: Path) -> None:
    def change(lines: list[str], first: int, before: str) -> list[Answer]:
        mono.write_bytes(TEXT + b"x")
        return make(lines, first, before)

    with pytest.raises(DataError, match=r"mono.en changed while it was read"):
        made(mono, tmp_path / "out", change, chunk=100)
    mono.write_bytes(b"")
    with pytest.raises(DataError, match=r"mono.en is empty"):
        made(mono, tmp_path / "other")
