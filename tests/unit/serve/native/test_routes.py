"""The native interface as clients meet it: every name answers, and what is wrong is one line with its field."""

from pathlib import Path
from typing import Any

import pytest

from tests.serving import Asking, asking, site_of

CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("translate", {"text": "他喝水。"}, "translations"),
    ("translate", {"text": "他喝水。", "alignment": True}, "translations"),
    ("alternatives", {"text": "他喝水。", "prefix": "He"}, "alternatives"),
    ("attention", {"model": "mt", "text": "他喝水。"}, "panels"),
    ("attention", {"model": "bert", "text": "He ate."}, "panels"),
    ("trace", {"model": "lm", "text": "我们"}, "steps"),
    ("beam", {"model": "mt", "text": "他喝水。", "beam": 2}, "nodes"),
    ("fill", {"text": "He ate [MASK] apple."}, "masks"),
    ("embed", {"texts": ["He ate."]}, "vectors"),
    ("tokenize", {"model": "mt", "text": "他喝水。"}, "ids"),
    ("tokenize", {"model": "mt", "text": "He drinks.", "side": "target"}, "ids"),
]


@pytest.mark.parametrize(("name", "fields", "key"), CALLS)
def test_every_name_answers(toy_asking: Asking, name: str, fields: dict[str, Any], key: str) -> None:
    answer = toy_asking.post(f"/api/{name}", fields)
    assert answer.status == 200, answer.text
    assert answer.json[key]
    assert answer.headers["x-clearhead-checkpoint"].startswith("step-")


def test_a_classifier_answers(toy_classifier: Path) -> None:
    with site_of([toy_classifier]) as site:
        answer = asking(site).post("/api/classify", {"text": "the film was great"})
        assert answer.json["label"] == "good"


def test_alignment_is_of_the_same_translation(toy_asking: Asking) -> None:
    plain, aligned = (
        toy_asking.post("/api/translate", {"text": "我妹妹不骑自行车。", "alignment": on}).json["translations"][0]
        for on in (False, True)
    )
    assert plain["text"] == aligned["text"]
    assert all(not word["sources"] for word in plain["parts"][0]["words"])
    assert any(word["sources"] for word in aligned["parts"][0]["words"])


@pytest.mark.parametrize(
    ("name", "fields", "status", "says"),
    [
        ("translate", {"model": "none", "text": "a"}, 404, "there is none of this name"),
        ("translate", {"model": "lm", "text": "a"}, 400, "is a writer"),
        ("tokenize", {"text": "a"}, 404, "there is none of this name"),
        ("trace", {"model": "bert", "text": "a"}, 400, "writes no text"),
        ("attention", {"model": "mt"}, 400, "text: is missing"),
        ("attention", {"model": "mt", "text": "我" * 500}, 400, "pieces"),
        ("fill", {"text": "no gap"}, 400, "MASK"),
        ("alternatives", {"text": "我" * 500}, 400, "pieces"),
        ("tokenize", {"model": "mt", "text": "a", "side": "x"}, 400, "source or target"),
        ("embed", {"texts": ["a"] * 65}, 400, "at most 64"),
        ("nothing", {}, 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_one_line(
    toy_asking: Asking, name: str, fields: dict[str, Any], status: int, says: str
) -> None:
    answer = toy_asking.post(f"/api/{name}", fields)
    assert answer.status == status, answer.text
    assert says in answer.json["error"]
    assert "\n" not in answer.json["error"]


def test_a_key_is_needed_where_there_are_keys(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-many-letters\n")
    with site_of([toy_run], api_key=keys) as site:
        asks = asking(site)
        assert asks.post("/api/info", {}).status == 401
        assert asks.get("/").status == 200, "the page itself asks for the key"
        assert asks.post("/api/info", {}, headers={"Authorization": "Bearer a-key-of-many-letters"}).status == 200


def test_without_a_page_there_is_no_native_interface(toy_run: Path) -> None:
    with site_of([toy_run], page=False) as site:
        assert asking(site).get("/api/info").status == asking(site).get("/").status == 404
