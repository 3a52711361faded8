"""Health, readiness, counts: what they say before and after the models are loaded, and to whom."""

from pathlib import Path

from tests.serving import Asking, asking, site_of


def test_a_server_whose_models_are_loaded_is_well(toy_asking: Asking) -> None:
    assert toy_asking.get("/health").json == toy_asking.get("/v1/health").json == {"status": "ok"}
    ready = toy_asking.get("/ready").json
    assert ready["queue"] == 0
    assert list(ready["models"]) == ["mt", "lm", "bert"]
    assert all(label.startswith("step-") for label in ready["models"].values())


def test_one_that_loads_says_so(toy_run: Path) -> None:
    with site_of([f"mt={toy_run}"]) as site:
        site.models.get("mt").version = None
        ask = asking(site)
        for path in ("/health", "/ready", "/v1/health"):
            answer = ask.get(path)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
        assert ask.get("/health").json == {"status": "loading"}
        assert ask.get("/ready").json["models"] == {"mt": None}
        for path, body in (("/v1/models", None), ("/languages", None), ("/v2/languages", None)):
            assert ask.ask("GET", path, body).status == 503, path
        early = ask.post("/translate", {"q": "我", "source": "zh", "target": "en"})
        assert (early.status, early.json) == (503, {"error": "the model is being loaded"})


def test_counts_are_told(toy_asking: Asking) -> None:
    toy_asking.get("/nowhere")
    toy_asking.get("/v1/models/mt")
    answer = toy_asking.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'clearhead_requests_total{dialect="openai",path="/v1/models/{model:path}",status="200"}' in answer.text
    assert 'path="other",status="404"' in answer.text
    assert 'clearhead_model_info{model="mt",checkpoint="step-' in answer.text
    assert "nowhere" not in answer.text


def test_others_than_this_machine_need_a_key_for_counts(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-mine\n")
    with site_of([f"mt={toy_run}"], api_key=keys, host="0.0.0.0") as site:
        ask = asking(site)
        assert ask.get("/metrics").status == 401
        assert ask.get("/metrics", headers={"Authorization": "Bearer a-key-of-mine"}).status == 200
        assert ask.get("/health").status == ask.get("/openapi.json").status == 200
        assert "a-key-of-mine" not in site.metrics.text()
    with site_of([f"mt={toy_run}"], api_key=keys) as site:
        assert asking(site).get("/metrics").status == 200
