"""What nobody else may see or do: keys are in no line, count or answer; hosts and origins of others are refused."""

import json
from pathlib import Path

from tests.reliability.asking import all_at_once, answer_to, request_bytes, status_of
from tests.serving import serving

MINE, WRONG = "my-own-key-5f1c", "somebody-elses-key-77aa"
SECRET = "一个秘密"


def test_keys_and_texts_are_seen_nowhere(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{MINE}\n", encoding="utf-8")
    with serving(f"mt={toy_run}", options=["--api-key", keys, "--json"]) as server:
        requests = []
        for key in (MINE, WRONG):
            for body in ({"q": SECRET, "source": "zh", "target": "en", "api_key": key}, {"q": 5, "api_key": key}):
                requests.append(request_bytes("POST", "/translate", body))
            for scheme, path in (
                ("Bearer", "/v1/models"),
                ("DeepL-Auth-Key", "/v2/usage"),
                ("Bearer", "/v1/models/no"),
            ):
                requests.append(request_bytes("GET", path, Authorization=f"{scheme} {key}"))
            requests.append(request_bytes("POST", f"/detect?api_key={key}", {"q": SECRET}))
            requests.append(request_bytes("GET", f"/nothing?api_key={key}", Authorization=f"Bearer {key}"))
            requests.append(request_bytes("POST", "/translate", f'{{"api_key": "{key}", '.encode()))

        async def ask(request: bytes) -> bytes:
            return await answer_to(server.port, request)

        answers = all_at_once(requests, ask, 8)
        half = len(answers) // 2
        assert [status_of(answer) for answer in answers[:half]] == [200, 400, 200, 200, 404, 200, 404, 400]
        assert [status_of(answer) for answer in answers[half:]] == [403, 403, 401, 403, 401, 403, 404, 400]
        seen = b"\n".join([*answers, server.get("/metrics").body, server.said.encode()]).decode("utf-8", "replace")
        for secret in (MINE, WRONG, SECRET, "127.0.0.1:"):
            assert secret not in seen, secret


def test_others_need_a_key_or_an_open_door(toy_run: Path) -> None:
    with serving(f"mt={toy_run}", options=["--host", "0.0.0.0", "--open"]) as server:
        assert server.get("/v1/models").status == 200
        assert server.get("/v1/models", headers={"Host": "anything.example"}).status == 200
    with serving(
        f"mt={toy_run}", options=["--allow-host", "me.example", "--allow-origin", "https://app.example"]
    ) as server:
        hosts = {
            "me.example": 200,
            "me.example:443": 200,
            "evil.example": 421,
            "localhost": 200,
            f"127.0.0.1:{server.port}": 200,
        }
        assert {host: server.get("/health", headers={"Host": host}).status for host in hosts} == hosts
        body = {"q": "我", "source": "zh", "target": "en"}
        origins = {
            "https://app.example": 200,
            "https://evil.example": 403,
            "null": 403,
            f"http://127.0.0.1:{server.port}": 200,
        }
        found = {origin: server.post("/translate", body, headers={"Origin": origin}) for origin in origins}
        assert {origin: answer.status for origin, answer in found.items()} == origins
        allowed = [origin for origin, answer in found.items() if "access-control-allow-origin" in answer.headers]
        assert allowed == ["https://app.example"]
        form = "q=x&source=zh&target=en"
        posted = {"Origin": "https://evil.example", "Content-Type": "application/x-www-form-urlencoded"}
        assert server.post("/translate", form, headers=posted).status == 403, "which a page may send without asking"
        assert json.loads(server.get("/v1/models").body)["object"] == "list"
