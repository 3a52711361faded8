"""LibreTranslate's routes: which there are, and which need no key."""

from pathlib import Path
from typing import Any

from clearhead.serve.dialects.libretranslate.routes import libretranslate_routes
from tests.serving import asking, site_of


def test_each_has_its_methods(toy_site: Any) -> None:
    found = {route.path: sorted((route.methods or set()) - {"HEAD"}) for route in libretranslate_routes(toy_site)}
    assert found == {
        "/translate": ["POST"],
        "/detect": ["POST"],
        "/languages": ["GET"],
        "/frontend/settings": ["GET"],
        "/spec": ["GET"],
        "/suggest": ["POST"],
        "/translate_file": ["POST"],
        "/download_file/{name}": ["GET"],
    }


def test_what_says_nothing_of_texts_needs_no_key(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-mine\n")
    body = {"q": "我", "source": "zh", "target": "en"}
    with site_of([f"mt={toy_run}"], api_key=keys) as site:
        ask = asking(site)
        for path in ("/languages", "/frontend/settings", "/spec"):
            assert ask.get(path).status == 200
        assert ask.get("/frontend/settings").json["keyRequired"] is True
        assert ask.post("/translate", body).json == {"error": "Please contact the server operator to get an API key"}
        for path in ("/translate", "/detect"):
            assert ask.post(path, {**body, "api_key": "wrong"}).status == 403
            assert ask.post(path, {**body, "api_key": "a-key-of-mine"}).status == 200
        assert ask.post("/translate?api_key=a-key-of-mine", body).status == 200
