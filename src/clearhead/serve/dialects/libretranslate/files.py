"""``/translate_file``, ``/download_file``: texts, kept in memory for minutes under names that nobody guesses."""

import codecs
import secrets
import time
from pathlib import PurePath
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clearhead.documents.markup import markup_document
from clearhead.documents.subtitles import subtitles_document
from clearhead.serve.dialects.libretranslate.shape import demand
from clearhead.serve.dialects.libretranslate.translators import Translators
from clearhead.serve.dialects.marked import filled_in
from clearhead.serve.http.body import MULTIPART, Fields, read_body, read_fields
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.multipart import parts_of
from clearhead.serve.http.request_error import RequestError

DOCUMENTS = {".html": markup_document, ".srt": subtitles_document}
KINDS = (".txt", *DOCUMENTS)
LARGEST, AROUND = 1 << 20, 1 << 16
"""Bytes of a file, and of what a request has around it."""
KEPT, MOST_KEPT = 600.0, 64 << 20
"""Seconds that a translation is kept, and bytes of all."""
AT_ONCE = 64
"""Lines that are translated before others have their turn."""
OFF = RequestError(403, "Files translation are disabled on this server.")


async def read_upload(request: Request, most: int) -> Fields:
    """Reads the fields of a request with a file; in place of the file stands its name, and its bytes as ``content``.

    Raises:
        RequestError: it is too long, or no such request.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != MULTIPART:
        return await read_fields(request, most)
    tree: dict[str, Any] = {}
    for part in parts_of(await read_body(request, LARGEST + AROUND), kind):
        if part.file is None:
            tree[part.name] = part.text
        elif part.name == "file":
            tree |= {"file": part.file, "content": part.content}
    return Fields(tree)


class Files:
    """The handlers, and what they keep.

    Args:
        translators: of the site.
    """

    def __init__(self, translators: Translators) -> None:
        self.translators, self.is_on = translators, translators.site.settings.files
        self._kept: dict[str, tuple[float, bytes]] = {}
        """By name: until when, and what."""

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
        read = DOCUMENTS.get(kind)
        document = None if read is None else await asked.call(lambda: read(text))
        texts = text.split("\n") if document is None else [block.text for block in document.blocks]
        found, before = list[str](), ""
        self.translators.check(*pair)
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            found += [best for best, *_ in await self.translators.plain(asked, some, pair, before=before)]
            before = some[-1]
        return "\n".join(found) if document is None else (await filled_in(asked, [document], [found]))[0]

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
