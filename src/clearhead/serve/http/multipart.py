"""Forms with files (RFC 7578), of bodies that are there as a whole."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from clearhead.serve.http.request_error import RequestError

PARTS = 16
BOUNDARY = re.compile(r"""boundary=("?)([\w'()+,./:=? -]{0,69}[\w'()+,./:=?-])\1 *(;|$)""", re.ASCII | re.IGNORECASE)
HEADER = re.compile(r"content-disposition:[ \t]*form-data[ \t]*;(.*)", re.IGNORECASE)
VALUE = '="((?:[^"\\\\]|\\\\.)*)"'
NAME, FILE = re.compile(r"(?:^|[\s;])name" + VALUE), re.compile(r"(?:^|[\s;])filename" + VALUE)


@dataclass(frozen=True)
class Part:
    """A field of a form, or a file."""

    name: str
    file: str | None
    """Its name, where it is one."""
    content: bytes

    @property
    def text(self) -> str:
        """The value of a field; raises RequestError if it is no text."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            _refuse(f"{self.name[:40]!r} is not UTF-8")


def parts_of(body: bytes, content_type: str) -> Iterator[Part]:
    """Yields the parts of a form.

    Raises:
        RequestError: it is none, or has too many parts.
    """
    found = BOUNDARY.search(content_type)
    if found is None:
        _refuse("its Content-Type names no boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + found[2].encode(), PARTS + 2)
    if len(pieces) > PARTS + 2:
        _refuse(f"it has more than {PARTS} parts")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        _refuse("it ends before its last boundary")
    for piece in pieces[1:-1]:
        yield _part(piece)


def _part(piece: bytes) -> Part:
    head, between, content = piece.partition(b"\r\n\r\n")
    for line in head.decode("utf-8", "replace").split("\r\n"):
        if (header := HEADER.fullmatch(line)) and (name := NAME.search(header[1])):
            file = FILE.search(header[1])
            return Part(name[1], file[1] if file else None, content) if between else _refuse("a part has no content")
    _refuse("a part has no name")


def _refuse(reason: str) -> NoReturn:
    raise RequestError(400, f"the body is not a form: {reason}")
