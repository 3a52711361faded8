"""Health, readiness, counts: what they say before and after the models are loaded."""

from typing import Any

from tests.serving import Asking, Server


def test_a_server_whose_models_are_loaded_is_well(toy_asking: Asking) -> None:
    assert toy_asking.get("/health").json == toy_asking.get("/v1/health").json == {"status": "ok"}


def test_real(toy_server: Server) -> None:
    assert toy_server.get("/health").json == {"status": "ok"}
    assert toy_server.post("/translate", {"q": "a", "source": "zh", "target": "en"}).status == 200
