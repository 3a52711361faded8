"""``clearhead translate --format``: a file or stdin in, the document out, and what goes with it."""

import gzip
import io
import sys
from pathlib import Path

import pytest

from tests.toy import Said, assert_one_line, clearhead

A, B = "我们今天在家。", "她在吗？"


def line(toy_run: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    return clearhead(capsys, "translate", toy_run, text).out.removesuffix("\n")


def test_a_file_or_stdin_is_translated_whole(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = line(toy_run, A, capsys), line(toy_run, B, capsys)
    text, expected = f"# {A}\r\n\r\n`x`\r\n- {B}", f"# {a}\r\n\r\n`x`\r\n- {b}"
    path, output = tmp_path / "a.md", tmp_path / "b.md"
    path.write_bytes(text.encode())
    said = clearhead(capsys, "translate", toy_run, "--format", "md", path)
    assert (said.code, said.out) == (0, expected)
    assert all("block" in each for each in said.err.splitlines())
    for words in ([path, "--output", output], ["--input", path, "--output", output]):
        said = clearhead(capsys, "translate", toy_run, "--format", "md", *words)
        assert (said.code, said.out) == (0, "")
        assert output.read_bytes() == expected.encode()
        output.unlink()
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
        assert clearhead(capsys, "translate", toy_run, "--format", "md", *words).out == expected


def test_a_block_that_cannot_be_translated_stays(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, long = tmp_path / "a.txt", "我" * 70
    path.write_text(f"{A}\n\n{long}\n", encoding="utf-8")
    said = clearhead(capsys, "translate", toy_run, "--format", "txt", path, "--overlong", "error")
    assert (said.code, said.out) == (3, f"{line(toy_run, A, capsys)}\n\n{long}\n")
    assert f"{path} block 2: text" in said.err


def test_a_glossary_is_counted(toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, glossary = tmp_path / "a.html", tmp_path / "g.tsv"
    path.write_text(f"<p>{A}</p>", encoding="utf-8")
    glossary.write_text("今天\tzebra\n", encoding="utf-8")
    said = clearhead(capsys, "translate", toy_run, "--format", "html", path, "--glossary", glossary)
    assert "zebra" in said.out.lower()
    assert said.err.splitlines()[-1] == "clearhead: glossary: 1 of 1 targets in 1 lines were met"


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("srt", f"1\n00:00:01,000 -> 00:00:02,500\n{A}\n", "no subtitles were found"),
        ("srt", "1\n00:00:01,000 --> 00:00:02,500\n<i>12</i>\n", "has no text to translate as srt"),
        ("html", f"<script>{A}</script>", "has no text to translate as html"),
        ("md", f"```\n{A}\n```\n", "has no text to translate as md"),
        ("txt", "https://a.b/c\n", "has no text to translate as txt"),
        ("srt", "", ""),
        ("txt", "12\n", ""),
    ],
)
def test_a_document_of_which_nothing_is_translated_is_told(
    kind: str, text: str, told: str, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(text.encode())
    said = clearhead(capsys, "translate", toy_run, "--format", kind, path)
    assert (said.code, said.out) == (0, text)
    assert said.err == (f"clearhead: {path}: {told}, and all of it stays as it is\n" if told else "")


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["x", "--n-best", "2"], 2, "--format: goes with none of --n-best"),
        (["x", "--json"], 2, "--format: goes with none of"),
        (["x", "--prefix", "a"], 2, "--format: goes with none of"),
        (["x", "y"], 2, "--format: translates one file, 2 are named"),
        (["x", "--input", "y"], 2, "--format: translates one file, 2 are named"),
        (["none"], 3, "none cannot be read: No such file"),
        (["."], 3, ". cannot be read: Is a directory"),
    ],
)
def test_what_does_not_go_is_one_line(
    words: list[str], code: int, part: str, toy_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(clearhead(capsys, "translate", toy_run, "--format", "md", *words), code, part)


def test_bytes_that_are_no_text_name_their_line(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(b"a\n\xff\n")
    said: Said = clearhead(capsys, "translate", toy_run, "--format", "md", path)
    assert_one_line(said, 3, f"{path}, line 2: not UTF-8 (byte 1 of the line)")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (A.encode("utf-16"), "is UTF-16, not UTF-8: convert it by iconv -f UTF-16 -t UTF-8"),
        (A.encode("gb18030"), "is GB18030, not UTF-8: convert it by iconv -f GB18030 -t UTF-8"),
        (gzip.compress(A.encode()), "is gzip, not text: decompress it"),
    ],
)
def test_a_document_that_is_no_utf8_is_said_to_be_what_it_is(
    content: bytes,
    what: str,
    toy_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(content)
    assert_one_line(clearhead(capsys, "translate", toy_run, "--format", "srt", path), 3, f"{path} {what}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert_one_line(clearhead(capsys, "translate", toy_run, "--format", "md"), 3, f"stdin {what}")


def test_a_gzip_file_is_read_by_its_name(toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.md.gz"
    path.write_bytes(gzip.compress(f"# {A}\r\n".encode()))
    said = clearhead(capsys, "translate", toy_run, "--format", "md", path)
    assert (said.code, said.out) == (0, f"# {line(toy_run, A, capsys)}\r\n")
