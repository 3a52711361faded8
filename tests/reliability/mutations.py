"""Requests that went wrong on their way: fields of another kind, bytes lost, doubled or changed,
lines out of place."""

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.reliability.asking import request_bytes

ZH = "我们今天在家。"
GOOD: list[tuple[str, str, Any]] = [
    ("GET", "/health", None),
    ("GET", "/ready", None),
    ("GET", "/metrics", None),
    ("GET", "/docs", None),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/lm", None),
    ("POST", "/v1/completions", {"model": "lm", "prompt": "我们", "max_tokens": 3, "temperature": 0.7, "n": 2,
    "stop": ["x"]}),
    ("POST", "/v1/completions", {"model": "lm", "prompt": [5, 6], "max_tokens": 3, "logprobs": 2,
    "logit_bias": {"7": 1}}),
    ("POST", "/v1/completions", {"model": "lm", "max_tokens": 3, "stream": True,
    "stream_options": {"include_usage": True}}),
    ("POST", "/v1/completions", {"model": "mt", "prompt": ZH, "max_tokens": 5, "beam": 2}),
    ("POST", "/v1/chat/completions", {"model": "mt", "messages": [{"role": "user", "content": ZH}], "stream": True}),
    ("POST", "/v1/embeddings", {"model": "bert", "input": ["She eats.", "We"], "encoding_format": "base64"}),
    ("POST", "/translate", {"q": [ZH, "她"], "source": "zh", "target": "en", "alternatives": 1, "beam": 2}),
    ("POST", "/translate", {"q": f"<p>{ZH}</p>", "source": "auto", "target": "en", "format": "html", "beam": 1}),
    ("POST", "/detect", {"q": ZH}),
    ("GET", "/languages", None),
    ("GET", "/frontend/settings", None),
    ("POST", "/v2/translate", {"text": [ZH], "target_lang": "EN-US", "source_lang": "ZH",
    "split_sentences": "1", "beam": 1}),
    ("GET", "/v2/languages?type=target", None),
    ("POST", "/v2/glossaries", {"name": "g", "source_lang": "ZH", "target_lang": "EN", "entries": "我\tme"}),
    ("DELETE", "/v2/glossaries/7", None),
    ("GET", "/download_file/x", None),
]  # fmt: skip
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, 1e-320, "", " ", "\x00", "\n", "我",
    "\U0001f600",
    "\ufeff", "a" * 3000, "../../etc/passwd", "%s%n", "nan", "true", "1", [], [[]], [None], {}, {"": None},
    [[[["x"]]]],
    ["a"] * 200, "\u202e\u0000", "<img onerror=x>", "zh", "lm",
]  # fmt: skip
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "X" * 300, ""]
HEADERS = [
    "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: 0x10",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Content-Encoding: gzip", "Expect: 100-continue",
    "Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data",
    "Upgrade: websocket", "Connection: keep-alive", "Host: evil.example", "Host: localhost",
    "Origin: https://evil.example",
    "Authorization: Bearer \xff", "X-Request-Id: \x01", "Cookie: " + "x" * 20_000, "Range: bytes=0-",
    " folded: line", ": x",
    "Accept-Encoding: gzip", "Content-Type: application/json; charset=utf-16",
]  # fmt: skip


def mutated(count: int, seed: int) -> Iterator[bytes]:
    """Yields requests as bytes."""
    chance = random.Random(seed)
    for _ in range(count):
        method, path, body = chance.choice(GOOD)
        kind = chance.random()
        if body is not None and kind < 0.45:
            body = _changed(body, chance)
        elif kind < 0.55:
            method = chance.choice(METHODS)
        elif kind < 0.65:
            path = _path(path, chance)
        request = request_bytes(method, path, body)
        if kind > 0.65:
            request = _bytes(request, chance)
        yield request


def _changed(body: Any, chance: random.Random) -> Any:
    """Changes one or two values of a tree, at any depth; or makes of it what is no JSON."""
    tree = json.loads(json.dumps(body))
    for _ in range(chance.choice([1, 1, 2])):
        tree = _with_change(tree, chance)
    text = json.dumps(tree, ensure_ascii=chance.random() < 0.5)
    match chance.randrange(12):
        case 0:
            text = text[: chance.randrange(len(text) + 1)]
        case 1:
            text = "[" * chance.choice([50, 70, 20_000]) + text
        case 2:
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(["NaN", "\\ud800", '"', "{", ",", "\x00", "1e999", "-"]) + text[at:]
    return text.encode("utf-8", "surrogatepass") + b"\xff" * (chance.random() < 0.03)


def _with_change(tree: Any, chance: random.Random) -> Any:
    if not tree or not isinstance(tree, dict | list) or chance.random() < 0.15:
        return chance.choice(STRANGE)
    if isinstance(tree, list):
        place = chance.randrange(len(tree))
        return [*tree[:place], _with_change(tree[place], chance), *tree[place + 1 :]]
    name = chance.choice(list(tree))
    match chance.randrange(6):
        case 0:
            return {key: value for key, value in tree.items() if key != name}
        case 1:
            return {**tree, chance.choice(["extra", "", "我", "api_key", "auth_key"]): chance.choice(STRANGE)}
        case 2:
            return {**tree, name: chance.choice(STRANGE)}
    return {**tree, name: _with_change(tree[name], chance)}


def _path(path: str, chance: random.Random) -> str:
    extra = chance.choice(
        ["/", "//", "/..", "/../..", "?", "?a=b", "?type=", "#x", "%00", "%2e%2e", "%ff", "%", "/%E6%88%91",
        "*", "x" * 9000, ";x"]
    )  # fmt: skip
    return chance.choice([path + extra, extra + path, "http://localhost" + path, path.upper(), path.replace("/", "//")])


def _bytes(request: bytes, chance: random.Random) -> bytes:
    """Changes bytes or lines of a request."""
    at, other = sorted(chance.randrange(len(request) + 1) for _ in range(2))
    match chance.randrange(7):
        case 0:
            return request[:at]
        case 1:
            return request[:at] + chance.randbytes(chance.randrange(1, 9)) + request[at:]
        case 2:
            return request[:at] + request[min(other, at + 40) :]
        case 3:
            return request[:at] + request[at : at + 60] * 2 + request[at:]
        case 4:
            return request[:at] + bytes([chance.randrange(256)]) + request[at + 1 :]
        case 5:
            return request.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\r\n\r\n", b"\n\r"]), chance.randrange(1, 4))
    line, _, rest = request.partition(b"\r\n")
    return line + b"\r\n" + chance.choice(HEADERS).encode("latin-1") + b"\r\n" + rest
