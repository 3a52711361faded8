"""OpenAI's routes: models, and what is not there, in its shape."""

from pathlib import Path

from tests.serving import Asking, asking, site_of


def test_models_are_listed(toy_asking: Asking) -> None:
    tree = toy_asking.get("/v1/models").json
    assert tree["object"] == "list"
    assert [each["id"] for each in tree["data"]] == ["mt", "lm", "bert"]
    assert all(each["owned_by"] == "clearhead" and isinstance(each["created"], int) for each in tree["data"])
    one = toy_asking.get("/v1/models/lm")
    assert one.json == tree["data"][1]
    assert one.headers["x-clearhead-checkpoint"].startswith("step-")
    assert toy_asking.get("/v1/models/").json == tree


def test_a_name_may_have_slashes_and_other_letters(toy_lm_run: Path) -> None:
    with site_of([f"模型 1={toy_lm_run}"]) as site:
        assert asking(site).get("/v1/models/模型 1").json["id"] == "模型 1"


def test_what_is_not_there_is_said_in_its_shape(toy_asking: Asking) -> None:
    gone = toy_asking.get("/v1/models/gone/away")
    assert (gone.status, gone.json["error"]["code"]) == (404, "model_not_found")
    for method, path, status in (
        ("GET", "/v1/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
    ):
        answer = toy_asking.ask(method, path)
        assert answer.status == status
        assert answer.json["error"]["type"] in ("invalid_request_error", "not_found_error")


def test_all_need_a_key(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-mine\n")
    with site_of([f"mt={toy_run}"], api_key=keys) as site:
        ask = asking(site)
        for method, path in (
            ("GET", "/v1/models"), ("GET", "/v1/models/mt"), ("POST", "/v1/completions"),
            ("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings"),
        ):  # fmt: skip
            answer = ask.ask(method, path)
            assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key"), path
            assert answer.headers["www-authenticate"] == "Bearer"
        assert ask.get("/v1/models", headers={"Authorization": "Bearer a-key-of-mine"}).status == 200
