"""Glossaries: entries read line by line, quotas, and keys that see their own."""

from typing import Any

import pytest

from clearhead.serve.dialects.deepl import glossaries as module
from tests.serving import Asking

GOOD: dict[str, Any] = {
    "name": "mine", "source_lang": "ZH", "target_lang": "EN-US", "entries": "今天\ttoday\n家\thome",
    "entries_format": "tsv",
}  # fmt: skip


def test_one_is_made_read_and_deleted(toy_asking: Asking) -> None:
    made = toy_asking.post("/v2/glossaries", GOOD)
    assert made.status == 201
    tree = made.json
    assert (tree["name"], tree["source_lang"], tree["target_lang"], tree["entry_count"]) == ("mine", "zh", "en", 2)
    assert tree["ready"] is True
    assert tree["creation_time"].endswith("Z")
    path = f"/v2/glossaries/{tree['glossary_id']}"
    assert toy_asking.get(path).json == tree
    assert tree in toy_asking.get("/v2/glossaries").json["glossaries"]
    entries = toy_asking.get(f"{path}/entries")
    assert entries.text == "今天\ttoday\n家\thome"
    assert entries.headers["content-type"].startswith("text/tab-separated-values")
    assert toy_asking.ask("DELETE", path).status == 204
    for gone in (toy_asking.get(path), toy_asking.get(f"{path}/entries"), toy_asking.ask("DELETE", path)):
        assert gone.status == 404
        assert gone.json["message"].startswith("Glossary not found")
    assert toy_asking.get("/v2/glossary-language-pairs").json == {
        "supported_languages": [{"source_lang": "zh", "target_lang": "en"}]
    }


@pytest.mark.parametrize(
    ("entries", "kind", "count"),
    [("a\tb", "tsv", 1), ("a\tb\n\n c \t d \n", "tsv", 2), ('"a, b",c\r\n"say ""x""",d,zh,en\n', "csv", 2)],
)
def test_entries_are_read(entries: str, kind: str, count: int, toy_asking: Asking) -> None:
    made = toy_asking.post("/v2/glossaries", {**GOOD, "entries": entries, "entries_format": kind}).json
    assert made["entry_count"] == count
    toy_asking.ask("DELETE", f"/v2/glossaries/{made['glossary_id']}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": ""}, "entries has 0 entries"),
        ({"entries": "a"}, "entries, line 1: must be a source, a tab and a target"),
        ({"entries": "a\tb\na\tc"}, "entries, line 2: the source 'a' has another target on line 1"),
        ({"entries": "a\t "}, "entries, line 1"),
        ({"entries": '"a', "entries_format": "csv"}, "entries: no CSV"),
        ({"entries": "\n".join(f"{n}\tx" for n in range(5001))}, "entries: 5001"),
        ({"entries_format": "xml"}, "entries_format"),
        ({"name": " "}, "name"),
        ({"name": "x" * 2000}, "name"),
        ({"target_lang": "FR"}, "Unsupported glossary source and target"),
        ({"source_lang": "EN"}, "Unsupported glossary source and target"),
        ({"source_lang": None}, "source_lang and target_lang: must be there"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], message: str, toy_asking: Asking) -> None:
    answer = toy_asking.post("/v2/glossaries", {**GOOD, **change})
    assert answer.status == 400
    assert answer.json["message"].startswith(message)


def test_memory_has_a_quota(toy_asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHARACTERS", 10)
    assert toy_asking.post("/v2/glossaries", {**GOOD, "entries": "abc\tdefgh ijkl"}).status == 456
