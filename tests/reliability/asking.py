"""Many clients at once in one event loop, each with bytes of its own: what tests of a server under pressure share."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from clearhead.text.tokenizer import Tokenizer
from tests.limits import HANGS

T = TypeVar("T")
R = TypeVar("R")


def endless(run: Path) -> dict[str, int]:
    """Returns a ``logit_bias`` by which a language model's text never ends by itself."""
    tokenizer = Tokenizer.load(run / "tokenizer" / "text.json")
    return {str(index): -100 for index in (tokenizer.ids.eos, *tokenizer.ends)}


def request_bytes(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    """Returns a request after which the connection closes."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Host": "localhost", "Connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if content:
        lines = {"Content-Type": "application/json", **lines, "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


async def answer_to(port: int, request: bytes) -> bytes:
    """Sends bytes and returns all that comes until the server closes; nothing where it cuts off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(-1), HANGS)
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def all_at_once(works: Iterable[T], ask: Callable[[T], Awaitable[R]], most: int) -> list[R]:
    """Asks for each of ``works``, ``most`` at a time, and returns the answers in their order."""

    async def run() -> list[R]:
        room = asyncio.Semaphore(most)

        async def within(work: T) -> R:
            async with room:
                return await ask(work)

        return await asyncio.gather(*(within(work) for work in works))

    return asyncio.run(run())


def status_of(answer: bytes) -> int:
    """Returns the status of an answer; 0 where there is none."""
    assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12]) if answer else 0


def body_of(answer: bytes) -> bytes:
    """Returns the body of an answer, put together where it came in chunks."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(parts)


def header_of(answer: bytes, name: str) -> str:
    """Returns a header of an answer."""
    for line in answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name:
            return value
    return ""
