"""``/translate_file``, ``/download_file``: texts, kept in memory for minutes under names that nobody guesses."""

import codecs
import importlib.util
import re
import secrets
import time
from collections.abc import AsyncGenerator
from pathlib import PurePath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from clearhead.errors import UsageError
from clearhead.serve.dialects.libretranslate.markup import Markup
from clearhead.serve.dialects.libretranslate.shape import demand
from clearhead.serve.dialects.libretranslate.translators import Translators
from clearhead.serve.http.body import MULTIPART, Fields, read_body, read_fields
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError

KINDS = (".txt", ".html", ".srt")
LARGEST, AROUND = 1 << 20, 1 << 16
"""Bytes of a file, and of what a request has around it."""
KEPT, MOST_KEPT = 600.0, 64 << 20
"""Seconds that a translation is kept, and bytes of all."""
AT_ONCE = 64
"""Lines that are translated before others have their turn."""
SUBTITLE = re.compile(r"(\d+[ \t]*\n)?[\d:,.]+[ \t]*-->[^\n]*\n(?P<text>[^\n]*\S[^\n]*(\n[^\n]*\S[^\n]*)*)")
OFF = RequestError(403, "Files translation are disabled on this server.")


def check_parser() -> None:
    """Raises UsageError where what reads files of a request is not installed."""
    if importlib.util.find_spec("python_multipart") is None:
        raise UsageError("--files needs python-multipart: pip install python-multipart")


async def read_upload(request: Request, most: int) -> Fields:
    """Reads the fields of a request with a file; in place of the file stands its name, and its bytes as ``content``.

    Raises:
        RequestError: it is too long, or no such request.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MULTIPART:
        return await read_fields(request, most)
    body = await read_body(request, LARGEST + AROUND)
    parser = MultiPartParser(request.headers, _once(body), max_files=1, max_fields=16, max_part_size=AROUND)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise RequestError(400, f"the body is not a form: {error}") from None
    tree: dict[str, Any] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            tree[name] = value
        elif name == "file":
            tree |= {"file": value.filename or "", "content": await value.read()}
            await value.close()
    return Fields(tree)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
    yield b""


class Files:
    """The handlers, and what they keep.

    Args:
        translators: of the site.
    """

    def __init__(self, translators: Translators) -> None:
        self.translators, self.is_on = translators, translators.site.settings.files
        self._kept: dict[str, tuple[float, bytes]] = {}
        """By name: until when, and what."""
        if self.is_on:
            check_parser()

    async def translate(self, asked: Asked) -> Any:
        """``POST /translate_file``."""
        fields = asked.fields
        if not self.is_on:
            raise OFF
        demand(fields, "file", "source", "target")
        content = fields.tree.get("content")
        if not content or not isinstance(content, bytes):
            raise RequestError(400, "Invalid request: empty file", param="file")
        kind = PurePath(fields.text("file")).suffix.lower()
        if kind not in KINDS:
            raise RequestError(400, "Invalid request: file format not supported", param="file")
        if len(content) > LARGEST:
            raise RequestError(413, f"the file is longer than {LARGEST} bytes", param="file")
        text = await self._translated(asked, kind, decoded(content))
        name = secrets.token_hex(16) + kind
        self._keep(name, text.encode())
        return {"translatedFileUrl": f"{asked.request.base_url}download_file/{name}"}

    async def download(self, asked: Asked) -> Response:
        """``GET /download_file/{name}``."""
        if not self.is_on:
            raise OFF
        self._forget()
        name = asked.request.path_params["name"]
        if name not in self._kept:
            raise RequestError(404, "Invalid filename")
        # as bytes to be saved: a page of somebody's must not become one of this server's
        named = {"Content-Disposition": f'attachment; filename="translated{PurePath(name).suffix}"'}
        return Response(self._kept[name][1], headers=named, media_type="application/octet-stream")

    async def _translated(self, asked: Asked, kind: str, text: str) -> str:
        pair = asked.fields.text("source"), asked.fields.text("target")
        match kind:
            case ".html":
                parts, texts = [Markup(text)], [""]
            case ".srt":
                parts, texts = _subtitles(text)
            case _:
                parts, texts = [], text.split("\n")
        if not parts:
            lines: list[str] = []
            for first in range(0, len(texts), AT_ONCE):
                lines += [each[0] for each in await self.translators.plain(asked, texts[first : first + AT_ONCE], pair)]
            return "\n".join(lines)
        found: list[str] = []
        for first in range(0, len(parts), AT_ONCE):
            found += [each[0] for each in await self.translators.marked(asked, parts[first : first + AT_ONCE], pair)]
        return "".join(before + part for before, part in zip(texts, [*found, ""], strict=False))

    def _keep(self, name: str, content: bytes) -> None:
        self._forget()
        if sum(len(each) for _, each in self._kept.values()) + len(content) > MOST_KEPT:
            raise RequestError(503, "too many files are kept", headers={"Retry-After": "60"})
        self._kept[name] = time.monotonic() + KEPT, content

    def _forget(self) -> None:
        now = time.monotonic()
        self._kept = {name: (until, content) for name, (until, content) in self._kept.items() if until > now}


def decoded(content: bytes) -> str:
    """Returns the text of a file, whose lines end as Unix has it.

    Raises:
        RequestError: it is neither UTF-8 nor UTF-16 with a mark.
    """
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError(400, "Invalid request: the file is not UTF-8", param="file") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _subtitles(text: str) -> tuple[list[Markup], list[str]]:
    """Returns what subtitles say, each on one line, and what stands before each and after the last."""
    parts, between, end = [], [], 0
    for found in SUBTITLE.finditer(text):
        parts.append(Markup(" ".join(found["text"].split("\n")), entities=False))
        between.append(text[end : found.start("text")])
        end = found.end("text")
    return parts, [*between, text[end:]]
