"""Certificates: digests of all files but its own, and what is wrong with a folder by the name of the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import ModelError
from clearhead.export.certificate import check_files, digests, read_certificate, rounded, tools, write_certificate

PREDICATE: dict[str, Any] = {"source": {}, "format": {}, "tool": {}, "inputs": {}, "verdict": "equal"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "inner").mkdir(parents=True)
    (tmp_path / "out" / "a.bin").write_bytes(b"abc")
    (tmp_path / "out" / "inner" / "b.txt").write_bytes(b"")
    write_certificate(tmp_path / "out", PREDICATE)
    return tmp_path / "out"


def test_it_is_a_statement_over_all_files(folder: Path) -> None:
    (folder / "model.sig").touch()
    tree = json.loads((folder / "certificate.json").read_text())
    assert tree["_type"] == "https://in-toto.io/Statement/v1"
    assert [entry["name"] for entry in tree["subject"]] == ["a.bin", "inner/b.txt"]
    # the digest of "abc" in FIPS 180-2
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert tree["subject"][0]["digest"] == {"sha256": known}
    subject, predicate = read_certificate(folder)
    assert subject == digests(folder)
    assert predicate["verdict"] == "equal"
    check_files(folder, subject)


@pytest.mark.parametrize("change", ["flipped", "missing", "added", "linked"])
def test_a_changed_folder_is_told_by_the_file(folder: Path, change: str) -> None:
    subject, _ = read_certificate(folder)
    match change:
        case "flipped":
            (folder / "a.bin").write_bytes(b"abb")
            rule = "a.bin' is not as it was exported"
        case "missing":
            (folder / "inner" / "b.txt").unlink()
            rule = "b.txt' is missing"
        case "added":
            (folder / "inner" / "c.py").touch()
            rule = "c.py' is not in the certificate"
        case _:
            (folder / "more").symlink_to(folder / "inner")
            rule = "more' cannot be read"
    with pytest.raises(ModelError, match=rule):
        check_files(folder, subject)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("[]", "is not a table"),
        ("{}", "is no certificate of clearhead"),
        ({"subject": [{"name": "a"}]}, "is damaged: KeyError 'digest'"),
        ({"subject": None}, "is damaged: TypeError"),
        ({"subject": [], "predicate": {"source": {}, "format": {}, "tool": {}, "inputs": {}}}, "predicate.verdict"),
        ({"subject": [], "predicate": {**PREDICATE, "source": 3}}, "predicate.source is missing"),
    ],
)
def test_what_is_no_certificate(folder: Path, content: Any, rule: str) -> None:
    head = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://clearhead/parity/v1"}
    text = content if isinstance(content, str) else json.dumps({**head, **content})
    (folder / "certificate.json").write_text(text)
    with pytest.raises(ModelError, match=rule):
        read_certificate(folder)


def test_no_folder_and_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        read_certificate(tmp_path / "no")
    with pytest.raises(ModelError, match=r"has no certificate\.json"):
        read_certificate(tmp_path)


def test_numbers_are_short_and_json() -> None:
    assert rounded({"a": [1 / 3, float("nan")], "b": (2, "x"), "c": float("inf")}) == {
        "a": [0.333333, None],
        "b": [2, "x"],
        "c": None,
    }
    assert tools("safetensors")["safetensors"]
    assert "safetensors" not in tools(None)
