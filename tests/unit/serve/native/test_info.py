"""What the page is told of the models."""

from pathlib import Path

import pytest

from clearhead.verbs.exports.run import Certify, export_run
from clearhead.version import VERSION
from tests.serving import Asking, asking, site_of


def test_each_model_by_its_kind(toy_asking: Asking) -> None:
    found = toy_asking.get("/api/info").json
    assert found == toy_asking.post("/api/info", {}).json
    assert found["version"] == VERSION
    assert found["limits"] == {"pieces": 16384, "body": 131072}
    mt, lm, bert = found["models"]
    common = {"looks_inside": True}
    assert mt == {
        **common,
        "name": "mt",
        "kind": "translator",
        "checkpoint": "step-120",
        "source": "zh",
        "target": "en",
        "longest": 62,
    }
    assert lm == {**common, "name": "lm", "kind": "writer", "checkpoint": "step-150", "context": 48}
    assert bert == {**common, "name": "bert", "kind": "encoder", "checkpoint": "step-150", "mask": "[MASK]"}


def test_a_classifier_has_its_classes(toy_classifier: Path, toy_pair_classifier: Path) -> None:
    with site_of([f"a={toy_classifier}", f"b={toy_pair_classifier}"]) as site:
        one, two = asking(site).get("/api/info").json["models"]
    assert (one["classes"], one["pairs"]) == (["bad", "good"], False)
    assert two["pairs"] is True


def test_rounded_weights_and_a_machine_without_pytorch_show_nothing_inside(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, rounded = tmp_path / "mt.clearhead", tmp_path / "mt8.clearhead"
    export_run(toy_run, file, target="file", certify=Certify(lines=0))
    export_run(toy_run, rounded, target="file", quantize="int8", certify=Certify(lines=0))
    with site_of([file, rounded, f"mt2={toy_run}"]) as site:
        assert [one["looks_inside"] for one in asking(site).get("/api/info").json["models"]] == [True, False, True]
        monkeypatch.setattr("clearhead.serve.native.info.has_torch", lambda: False)
        assert [one["looks_inside"] for one in asking(site).get("/api/info").json["models"]] == [False] * 3


def test_there_is_nothing_to_look_at_inside_of_counts(toy_baselines: dict[str, Path]) -> None:
    with site_of([f"{name}={path}" for name, path in toy_baselines.items()]) as site:
        models = asking(site).get("/api/info").json["models"]
    assert {one["name"] for one in models if not one["looks_inside"]} == {"ngram"}
