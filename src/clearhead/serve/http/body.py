"""The body of a request, read within limits and checked before it is used."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qs

from starlette.requests import Request

from clearhead.serve.http.request_error import RequestError

FIELDS = 64  # of a form
DEEPEST = 64  # lists and objects, one inside another
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


async def read_body(request: Request, most: int) -> bytes:
    """Reads a body of at most ``most`` bytes; a longer one is refused before it is read, or where it becomes longer.

    Raises:
        RequestError: it is too long (413), packed (415), or says two things about its length (400).
    """
    headers, close = request.headers, {"Connection": "close"}
    if "content-length" in headers and "transfer-encoding" in headers:
        raise RequestError(400, "Content-Length and Transfer-Encoding: only one of them may be there", headers=close)
    too_long = RequestError(413, f"the body is longer than {most} bytes", code="request_too_large", headers=close)
    if (packed := headers.get("content-encoding", "identity").lower()) != "identity":
        raise RequestError(415, f"Content-Encoding {packed[:20]!r}: send the body as it is", headers=close)
    if len(length := headers.get("content-length", "0")) > 15 or (length.isdecimal() and int(length) > most):
        raise too_long
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise too_long
    return bytes(body)


async def read_fields(request: Request, most: int) -> "Fields":
    """Reads the fields of a request: of JSON, or of a form; none of an empty body.

    Raises:
        RequestError: the body is too long, of another type, or no object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request, most)
    if kind == FORM:
        return Fields(_form(body))
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise RequestError(415, f"Content-Type {kind[:60]!r}: must be application/json or {FORM}")
    if not body.strip():
        return Fields({})
    tree = parse_json(body)
    if not isinstance(tree, dict):
        raise RequestError(400, f"the body is {_kind(tree)}: must be a JSON object")
    return Fields(tree)


def parse_json(body: bytes) -> Any:
    """Reads JSON as the standard has it: no NaN, no lone surrogates, and no nesting that breaks the reader.

    Raises:
        RequestError: it is not.
    """
    try:
        tree = DECODER.decode(body.decode("utf-8"))
        _check_text(tree, DEEPEST)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from None
    return tree


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _check_text(tree: Any, deepest: int) -> None:
    match tree:
        case str():
            if not tree.isascii():
                tree.encode("utf-8")  # raises for a lone surrogate
            return
        case list():
            inside = tree
        case dict():
            inside = [*tree, *tree.values()]
        case _:
            return
    if not deepest:
        raise RecursionError
    for each in inside:
        _check_text(each, deepest - 1)


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise RequestError(400, f"the body is not a form: {error}") from None
    return {name: values if len(values) > 1 else values[0] for name, values in pairs.items()}


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


class Fields:
    """The fields of a request; each is checked where it is asked for.

    Values of a form are strings, which are read as numbers and booleans where these are asked for.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.tree = tree

    def __contains__(self, name: str) -> bool:
        return self.tree.get(name) is not None

    def refuse(self, name: str, rule: str) -> NoReturn:
        """Raises the refusal of a field."""
        value = json.dumps(self.tree.get(name), ensure_ascii=False, default=str)
        raise RequestError(400, f"{name} = {value[:60]}{'...' * (len(value) > 60)}: {rule}", param=name)

    def text(self, name: str, default: str | None = None) -> str:
        """Returns a string; one that has no default must be there."""
        value = self.tree.get(name)
        if value is None:
            if default is None:
                raise RequestError(400, f"{name}: is missing", param=name)
            return default
        if not isinstance(value, str):
            self.refuse(name, f"is {_kind(value)}, must be a string")
        return value

    def texts(self, name: str, *, most: int, default: list[str] | None = None) -> list[str]:
        """Returns a string, or up to ``most`` of them, as a list."""
        value = self.tree.get(name)
        if value is None:
            if default is None:
                raise RequestError(400, f"{name}: is missing", param=name)
            return default
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            self.refuse(name, "must be a string or a list of strings")
        if len(values) > most:
            self.refuse(name, f"has {len(values)} strings, at most {most}")
        return values

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """Returns a whole number."""
        value = self.tree.get(name)
        if isinstance(value, str) and WHOLE.fullmatch(value):
            value = int(value)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(name, f"must be a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Returns a number."""
        value = self.tree.get(name)
        if value is None:
            return default
        if isinstance(value, str) and NUMBER.fullmatch(value):
            value = float(value)
        wrong = isinstance(value, bool) or not isinstance(value, int | float)
        if wrong or not low <= value <= high:  # NaN is nowhere
            self.refuse(name, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """Returns a boolean."""
        value = self.tree.get(name)
        if isinstance(value, str) and value.lower() in ("true", "1", "false", "0"):
            return value.lower() in ("true", "1")
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(name, "must be true or false")
        return value

    def choice(self, name: str, default: str, known: tuple[str, ...]) -> str:
        """Returns one of several words."""
        value = self.text(name, default)
        if value not in known:
            self.refuse(name, f"must be {' or '.join(known)}")
        return value
