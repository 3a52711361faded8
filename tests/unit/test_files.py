"""A file that is replaced is the old one or the new one, never half of either."""

import bz2
import codecs
import gzip
import io
import os
import random
from pathlib import Path
from typing import Any

import pytest

from clearhead import files
from clearhead.errors import DataError, ModelError
from clearhead.files import (
    Unpacked,
    bounded_lines,
    decoded,
    not_utf8,
    open_to_append,
    read_json,
    remove,
    sync,
    usual_mode,
    write_output,
    write_whole,
)

CHINESE = "我吃了一个苹果。\n他喝水。\nplain\n" * 9
FRENCH = "Où est le café ?\nIl a été là, déjà, à côté.\n"


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in (b"one", b"", "二".encode()):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    sync(tmp_path)


@pytest.mark.parametrize("call", ["write_bytes", "replace", "sync"])
def test_a_write_that_fails_leaves_the_old_one(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(files if call == "sync" else Path, call, full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_somebody_has_linked_elsewhere_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    kept, path = tmp_path / "kept", tmp_path / "recipe.toml"
    kept.write_bytes(b"mine")
    for link in (path, path.with_name("recipe.toml.tmp")):
        link.symlink_to(kept)
    write_whole(path, b"new")
    assert (kept.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"mine", b"new", False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "recipe.toml"]
    path.unlink()
    path.symlink_to(kept)
    with pytest.raises(DataError, match=r"recipe\.toml' is a link or a device, and a run writes to files of its own"):
        open_to_append(path)
    assert kept.read_bytes() == b"mine"
    write_output(path, b"asked for")
    assert (kept.read_bytes(), path.is_symlink()) == (b"asked for", True), "a user has named it"


def test_a_file_is_opened_at_its_end(tmp_path: Path) -> None:
    for content in (b"one\n", b"two\n"):
        with open_to_append(tmp_path / "file") as file:
            file.write(content)
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a link or a device"):
        open_to_append(tmp_path / "pipe")


@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_the_usual_mode_is_what_the_umask_leaves(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        assert usual_mode(tmp_path) == 0o666 & ~umask
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match=r"x\.json' is not JSON: more than 67,108,864 bytes"):
        read_json(path)
    path.write_text("[" * 10_000 + "]" * 10_000)
    with pytest.raises(ModelError, match=r"x\.json': tables or lists are nested deeper than 32"):
        read_json(path)


def test_a_line_without_an_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def readinto(self, buffer: Any) -> int:
            self.taken += len(buffer)
            buffer[:] = b"a" * len(buffer)
            return len(buffer)

        def readable(self) -> bool:
            return True

    endless = Endless()
    with pytest.raises(DataError, match="stdin line 1: longer than 1 MiB, no end of it was found"):
        list(bounded_lines(io.BufferedReader(endless), "stdin", 1 << 20))
    assert endless.taken < 2 << 20
    lines = [b"a\n", b"\r\n", b"\n", b"b"]
    assert list(bounded_lines(io.BytesIO(b"".join(lines)), "x", 2)) == lines


def test_a_gzip_that_no_text_makes_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_UNPACKED", 1 << 20)
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"\n" * (8 << 20)))
    rule = r"x\.gz: unpacks to more than 1 MiB and 200 times its size, as no text does$"
    with io.BufferedReader(Unpacked(path)) as stream, pytest.raises(DataError, match=rule):
        stream.read()
    with io.BufferedReader(Unpacked(path)) as stream:
        assert len(stream.read(1 << 20)) == 1 << 20
    text = random.Random(0).randbytes(100_000) * 20
    path.write_bytes(gzip.compress(text))
    with io.BufferedReader(Unpacked(path)) as stream:
        assert stream.read() == text


def test_bytes_are_read_or_the_line_is_named() -> None:
    assert decoded("é\r\n".encode(), "x") == "é\r\n"
    with pytest.raises(DataError, match=r"a\.md, line 2: not UTF-8 \(byte 3 of the line\)"):
        decoded(b"a\nbc\xff", "a.md")
    for content, what in (
        ("a\tb".encode("utf-16"), "is UTF-16, not UTF-8: convert it by iconv -f UTF-16 -t UTF-8"),
        (gzip.compress(b"a"), "is gzip, not text: decompress it"),
    ):
        with pytest.raises(DataError) as caught:
            decoded(content, "x")
        assert str(caught.value) == f"x {what}"


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (gzip.compress(CHINESE.encode()), "is gzip, not text"),
        (bz2.compress(CHINESE.encode()), "is bzip2, not text"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (CHINESE.encode("utf-16"), "is UTF-16, not UTF-8: convert it by iconv -f UTF-16 -t UTF-8"),
        (codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"), "is UTF-16, not"),
        (FRENCH.encode("utf-16-le"), "is UTF-16LE, not"),
        (FRENCH.encode("utf-16-be"), "is UTF-16BE, not"),
        (FRENCH.encode("utf-32"), "is UTF-32, not"),
        (CHINESE.encode("gb18030"), "is GB18030, not UTF-8"),
        (CHINESE.encode("gb18030")[:3], ""),
        (CHINESE.encode("gb18030")[:-4][:21], "is GB18030, not UTF-8"),
    ],
)
def test_what_is_no_text_is_named(head: bytes, what: str) -> None:
    assert not_utf8(head).startswith(what)
    assert bool(not_utf8(head)) is bool(what)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a",
        b"\n",
        CHINESE.encode(),
        CHINESE.encode()[:-8][:100],
        codecs.BOM_UTF8 + CHINESE.encode(),
        CHINESE.encode() + b"\xff\xfe\n",
        FRENCH.encode("latin-1"),
        "Привет, как дела? Хорошо.\n".encode("koi8-r"),
        b"ab\xff\n",
        b"ab\0cde\n" * 3,
        "日本語のテキスト。\n".encode("shift-jis"),
    ],
)
def test_what_may_be_text_is_left_to_its_lines(head: bytes) -> None:
    assert not_utf8(head) == ""
