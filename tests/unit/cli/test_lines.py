"""Lines of arguments, stdin and files reach every verb alike; answers go to stdout or to a file that is whole."""

import codecs
import gzip
import io
import sys
from pathlib import Path

import click
import pytest

from clearhead.cli.lines import answering
from clearhead.errors import DataError, UsageError, attempt_each
from tests.toy import assert_one_line, clearhead

LINES = ["我吃了一个苹果。", "", "b"]
TEXT = "".join(f"{line}\n" for line in LINES)


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes, *, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stream)


def read(*texts: str, size: int = 64, **where: Path) -> list[list[str]]:
    with answering(texts, size=size, doing="reading", **where) as chunks:
        return [chunk.texts for chunk in chunks]


def test_a_person_who_types_is_answered_line_by_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"a\nb\n")
    assert read() == [["a", "b"]]
    stdin(monkeypatch, b"a\nb\n", terminal=True)
    assert read("-") == [["a"], ["b"]]
    assert read("我") == [["我"]]
    assert capsys.readouterr().err == "reading what you type, line by line; Ctrl-D ends\n"


@pytest.mark.parametrize("content", [TEXT, "\ufeff" + TEXT, TEXT.replace("\n", "\r\n"), TEXT[:-1]])
def test_lines_are_the_same_from_stdin_and_from_files(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, content.encode())
    (tmp_path / "plain").write_bytes(content.encode())
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content.encode()))
    assert read(size=2) == [LINES[:2], LINES[2:]]
    for name in ("plain", "packed.gz"):
        assert read(size=2, source=tmp_path / name) == [LINES[:2], LINES[2:]]


WRONG = {
    "gzip": gzip.compress(TEXT.encode()),
    "UTF-16": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "GB18030": TEXT.encode("gb18030"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_text_is_said_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, WRONG[name])
    with pytest.raises(DataError, match=f"^stdin is {name}, not "):
        read()
    (tmp_path / "file").write_bytes(WRONG[name])
    with pytest.raises(DataError, match=f"file is {name}, not "):
        read(source=tmp_path / "file")


def test_what_cannot_be_answered_is_numbered_over_all_chunks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def answer(line: str) -> str:
        line.encode()
        if line == "bad":
            raise DataError("is bad")
        return line

    (tmp_path / "in").write_bytes(b"a\nbad\nb\n\xe6bad\nbad\n")
    answers: list[tuple[str, str]] = []

    def run() -> None:
        with answering([], size=2, doing="reading", source=tmp_path / "in") as chunks:
            for chunk in chunks:
                texts = attempt_each(answer, [text.replace("\udce6", "") for text in chunk.texts], chunk.fail)
                answers.extend((line, error) for _, line, _, error in chunk.with_errors(texts))

    with pytest.raises(click.exceptions.Exit) as ended:
        run()
    assert ended.value.exit_code == 3
    file = tmp_path / "in"
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("clearhead")] == [
        f"clearhead: {file} line 2: is bad",
        f"clearhead: {file} line 4: not UTF-8 (byte 1 of the line)",
        f"clearhead: {file} line 5: is bad",
    ]
    assert answers == [
        ("a", ""),
        ("bad", "is bad"),
        ("b", ""),
        ("?bad", "not UTF-8 (byte 1 of the line)"),
        ("bad", "is bad"),
    ]


def test_the_file_of_answers_is_whole_or_as_before(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.write_text(TEXT, encoding="utf-8")
    output.write_text("before")

    def copy(*, until: int) -> None:
        with answering([], size=1, doing="reading", source=source, output=output) as chunks:
            for number, chunk in enumerate(chunks):
                if number == until:
                    raise KeyboardInterrupt
                click.echo(chunk.texts[0])

    with pytest.raises(KeyboardInterrupt):
        copy(until=2)
    assert (output.read_text(), sorted(tmp_path.iterdir())) == ("before", [source, output])
    copy(until=9)
    assert output.read_bytes() == TEXT.encode()
    with pytest.raises(UsageError, match="is the file of --input"):
        read(source=source, output=source)
    with pytest.raises(UsageError, match="there is a TEXT"):
        read("a", source=source)
    with pytest.raises(DataError, match="cannot be written"):
        read(source=source, output=tmp_path / "none" / "out")
    with pytest.raises(DataError, match="cannot be read"):
        read(source=tmp_path / "none")


def test_a_file_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_text("a\n" * 1500)
    read(size=1000, source=tmp_path / "in")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("1,500/1,500 lines  ")
    assert last.endswith(" lines/s  0:00 left")


def test_the_name_of_a_file_is_no_text_to_read(
    toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = toy_data / "test.zh"
    said = clearhead(capsys, "translate", toy_run, path, "--beam", "1")
    assert said.code == 0
    assert f"{str(path)!r} is a file, and its name is taken for the text" in said.err
    assert f"give --input {path}" in said.err
    out = tmp_path / "out"
    assert clearhead(capsys, "translate", toy_run, "--input", path, "--output", out, "--beam", "1").out == ""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert out.read_text(encoding="utf-8") == clearhead(capsys, "translate", toy_run, *lines, "--beam", "1").out
    assert_one_line(clearhead(capsys, "translate", toy_run, "x", "--input", path), 2, "there is a TEXT")
