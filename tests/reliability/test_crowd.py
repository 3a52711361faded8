"""Many clients: none gets an error or another's text, and memory does not grow with what was answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.asking import all_at_once, answer_to, body_of, endless, request_bytes, status_of
from tests.serving import Server, resident, serving
from tests.toy import demo_lines

PATIENT = ["--timeout", "600", "--queue", "1024", "--key-limit", "1024"]


def written(number: int) -> tuple[str, dict[str, Any]]:
    """Returns a request of the many, of several kinds and lengths."""
    prompt = "我们今天在家。她在吗？"[number % 7 :]
    match number % 4:
        case 0:
            return "/translate", {"q": [prompt, prompt[:2]], "source": "zh", "target": "en"}
        case 1:
            return "/v2/translate", {"text": [prompt], "target_lang": "EN-US"}
        case 2:
            asked = {"model": "lm", "prompt": prompt, "max_tokens": 4 + number % 30, "seed": number, "stream": True}
            return "/v1/completions", asked
    return "/v1/completions", {"model": "lm", "prompt": prompt, "max_tokens": 5, "seed": number, "n": 2, "logprobs": 1}


def what_is_said(path: str, body: bytes) -> Any:
    """Returns the texts of an answer."""
    if body.startswith(b"data: "):
        *events, end = body.decode().removesuffix("\n\n").split("\n\n")
        assert end == "data: [DONE]", body[-300:]
        trees = [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]
        return "".join(choice["text"] for tree in trees for choice in tree["choices"])
    tree = json.loads(body)
    match path:
        case "/translate":
            return tree["translatedText"]
        case "/v2/translate":
            return [each["text"] for each in tree["translations"]]
    return [choice["text"] for choice in tree["choices"]]


def said(server: Server, count: int, most: int) -> list[Any]:
    """Returns what each of many clients is told."""

    async def ask(number: int) -> Any:
        path, body = written(number)
        answer = await answer_to(server.port, request_bytes("POST", path, body))
        assert status_of(answer) == 200, answer[:600]
        return what_is_said(path, body_of(answer))

    return all_at_once(range(count), ask, most)


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.long)])
def test_a_crowd_gets_what_each_gets_alone(count: int, toy_run: Path, toy_lm_run: Path) -> None:
    with serving(f"mt={toy_run}", f"lm={toy_lm_run}", options=PATIENT) as server:
        together = said(server, count, count)
        assert said(server, count, 1) == together
        assert server.metrics()["clearhead_running_rows"] == 0


@pytest.mark.parametrize("count", [120, pytest.param(500, marks=pytest.mark.long)])
def test_streams_of_a_crowd_all_come_to_their_end(count: int, toy_lm_run: Path) -> None:
    with serving(f"lm={toy_lm_run}", options=PATIENT) as server:

        async def ask(number: int) -> int:
            body = {"model": "lm", "prompt": "", "max_tokens": 20, "seed": number, "stream": True}
            answer = await answer_to(server.port, request_bytes("POST", "/v1/completions", body))
            assert status_of(answer) == 200, answer[:300]
            return len(what_is_said("", body_of(answer)))

        assert sum(length > 0 for length in all_at_once(range(count), ask, count)) > count * 0.9
        metrics = server.metrics()
        assert metrics["clearhead_time_to_first_token_seconds_count"] == count
        assert metrics["clearhead_batch_rows_sum"] > 3 * metrics["clearhead_batch_rows_count"], (
            "they were stepped together"
        )


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.long)])
def test_company_changes_no_translation(count: int, toy_run: Path) -> None:
    lines = [zh for zh, _ in demo_lines(count // 2)]
    texts = [line if number % 2 else line[: 2 + number % 5] for line in lines for number in range(2)][:count]
    with serving(f"mt={toy_run}", options=PATIENT) as server:

        async def ask(text: str) -> Any:
            body = {"q": text, "source": "zh", "target": "en", "alternatives": 2, "beam": 2 + len(text) % 4}
            answer = await answer_to(server.port, request_bytes("POST", "/translate", body))
            assert status_of(answer) == 200, answer[:300]
            return json.loads(body_of(answer))

        alone = all_at_once(texts, ask, 1)
        assert all_at_once(texts, ask, count) == alone
        assert len({each["translatedText"] for each in alone}) > count / 4


@pytest.mark.parametrize(
    ("warm", "count", "most"),
    [(400, 800, 6 << 20), pytest.param(2000, 10_000, 8 << 20, marks=pytest.mark.long)],  # the heap spreads at first
)
def test_memory_is_flat(warm: int, count: int, most: int, toy_run: Path, toy_lm_run: Path) -> None:
    with serving(f"mt={toy_run}", f"lm={toy_lm_run}", options=PATIENT) as server:
        said(server, warm, 16)
        before = resident(server.process.pid)
        said(server, count, 16)
        assert resident(server.process.pid) - before < most


def test_one_too_many_is_told_to_come_again(toy_lm_run: Path) -> None:
    bias = endless(toy_lm_run)
    with serving(f"lm={toy_lm_run}", options=["--queue", "4", "--rows", "1", "--timeout", "600"]) as server:

        async def ask(stream: bool) -> bytes:
            body = {"model": "lm", "prompt": "我", "max_tokens": 300, "stream": stream, "logit_bias": bias}
            return await answer_to(server.port, request_bytes("POST", "/v1/completions", body))

        for stream in (False, True):
            statuses = [status_of(answer) for answer in all_at_once([stream] * 24, ask, 24)]
            assert set(statuses) == {200, 429}, "streams have a status of their own too"
            assert statuses.count(200) >= 4
        assert server.get("/health").status == 200
