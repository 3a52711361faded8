"""Entries of glossaries: forms of a target, and files of which the first fault is named with its line."""

import gzip
from pathlib import Path

import pytest

from clearhead.errors import DataError
from clearhead.text.glossary.entries import Entry, Form, parse_entries, read_entries


def forms(target: str) -> list[tuple[str, bool]]:
    return [(form.text, form.goes_on) for form in Entry("x", target).forms]


def test_a_target_has_forms() -> None:
    assert forms("Haus") == [("Haus", False)]
    assert forms("the house") == [("the house", False), ("The house", False)], "also at the head of a sentence"
    assert forms("élan") == [("élan", False), ("Élan", False)]
    assert forms("iPhone") == [("iPhone", False)]
    assert forms("房子") == [("房子", False)]
    assert forms(" Haus | Häuser|Haus ") == [("Haus", False), ("Häuser", False)]
    assert forms("Haus*|Bau") == [("Haus", True), ("Bau", False)]
    assert forms("go*") == [("go", True), ("Go", True)]
    assert forms(r"a\|B\*\\c*") == [("a|B*\\c", True)]
    assert forms("C\\n") == [("C\\n", False)], "a backslash before any other sign is one"


def test_a_source_is_written_in_one_way() -> None:
    assert Entry(" ice \u00a0\tcream ", "x") == Entry("ice cream", "x")
    assert Entry("cafe\u0301", "x").source == "café"


@pytest.mark.parametrize(
    ("source", "target", "rule"),
    [
        ("", "x", "empty source"),
        (" \t", "x", "empty source"),
        ("x", " ", "empty target"),
        ("x", "a||b", "empty form"),
        ("x", "a|", "empty form"),
        ("x", "a*b", r"\* before its end"),
        ("x", "*", "empty form"),
        ("x", "a *", r"\* behind no letter"),
        ("x", "a.*", r"\* behind no letter"),
    ],
)
def test_what_is_no_entry_is_refused(source: str, target: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        Entry(source, target)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "g.tsv"
    path.write_bytes("\ufeffHaus\thouse\r\n\r\n  \nkleines  Haus \t cottage\ta remark\nHaus\thouse\n".encode())
    assert read_entries(path) == [Entry("Haus", "house"), Entry("kleines Haus", "cottage")]
    assert parse_entries('"a, b",c\r\n"say ""x""",d,zh,en\n', "it", "csv") == [
        Entry("a, b", "c"),
        Entry('say "x"', "d"),
    ]
    assert parse_entries("a\u2028b\tc", "it") == [Entry("a b", "c")], "only a line feed ends a line"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\nc d\n", "line 2: must be a source, a tab and a target; there is no tab"),
        (b"a\tb\n\tc\n", "line 2: has an empty source"),
        (b"a\t \n", "line 1: has an empty target"),
        (b"a\tb|\n", "line 1: has a target with an empty form"),
        (b"a\tb\nc\td\n a \tx\n", "line 3: the source 'a' has another target on line 1"),
        (b"a\tb\nxy\xffz\tc\n", "line 2: not UTF-8 (byte 3 of the line)"),
        ("a\tb".encode("utf-16"), " is UTF-16, not UTF-8: convert it by iconv -f UTF-16 -t UTF-8"),
        (gzip.compress(b"a\tb\n"), " is gzip, not text: decompress it"),
        (b"\n\n", " has 0 entries, must be 1 to 100,000"),
        (b"", " has 0 entries"),
    ],
)
def test_the_first_fault_of_a_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "g.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_entries(path)
    said = str(caught.value)
    assert said.startswith(f"glossary {str(path)!r}")
    assert message in said
    assert "\n" not in said


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"glossary .*none.* cannot be read: No such file"):
        read_entries(tmp_path / "none")
    with pytest.raises(DataError, match="not a file"):
        read_entries(tmp_path)
    with pytest.raises(DataError, match="no CSV"):
        parse_entries('"a', "it", "csv")
    with pytest.raises(DataError, match="there is no comma"):
        parse_entries("a", "it", "csv")
    with pytest.raises(DataError, match="has 100,001 entries"):
        parse_entries("\n".join(f"{n}\tx" for n in range(100_001)), "it")


def test_a_form_is_compared_by_what_it_says() -> None:
    assert Form("a") == Form("a", False) != Form("a", True)
