"""Bodies: read within limits, JSON as the standard has it, forms; each field refused where it is wrong."""

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request

from clearhead.serve.http.body import DEEPEST, FIELDS, FORM, Fields, parse_json, read_body, read_fields
from clearhead.serve.http.request_error import RequestError


def request_of(parts: list[bytes], headers: dict[str, str]) -> tuple[Request, list[bytes]]:
    """Returns a request, and its parts that were not read yet."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": pairs}, receive), left


def read(parts: list[bytes], most: int = 100, **headers: str) -> bytes:
    request, _ = request_of(parts, {name.replace("_", "-"): value for name, value in headers.items()})
    return asyncio.run(read_body(request, most))


def fields_of(body: bytes, kind: str = "application/json") -> dict[str, Any]:
    request, _ = request_of([body], {"Content-Type": kind} if kind else {})
    return dict(asyncio.run(read_fields(request, 1 << 20)).tree)


def refused(call: Any, *arguments: Any, **more: Any) -> RequestError:
    with pytest.raises(RequestError) as raised:
        call(*arguments, **more)
    assert "\n" not in raised.value.message
    return raised.value


def test_a_body_has_a_most() -> None:
    assert read([b"a" * 60, b"b" * 40]) == b"a" * 60 + b"b" * 40
    assert read([b"a" * 100], Content_Length="100") == b"a" * 100


def test_a_longer_one_is_refused_before_it_is_read() -> None:
    request, left = request_of([b"a"], {"Content-Length": "101"})
    error = refused(asyncio.run, read_body(request, 100))
    assert (error.status, error.headers) == (413, {"Connection": "close"})
    assert left == [b"a"]
    assert refused(read, [b"a"], Content_Length="9" * 400).status == 413


def test_a_body_of_unknown_length_is_refused_where_it_becomes_too_long() -> None:
    request, left = request_of([b"a" * 60, b"b" * 41, b"c"], {"Transfer-Encoding": "chunked"})
    assert refused(asyncio.run, read_body(request, 100)).status == 413
    assert left == [b"c"]


def test_two_lengths_and_packed_bodies_are_refused() -> None:
    assert refused(read, [b"a"], Content_Length="1", Transfer_Encoding="chunked").status == 400
    assert refused(read, [b"a"], Content_Encoding="gzip").status == 415


ODD = {
    "NaN": b'{"a": NaN}',
    "infinity": b"[-Infinity]",
    "surrogate": b'{"a": "\\ud800"}',
    "surrogate as a name": b'{"\\udc00": 1}',
    "bytes": b'{"a": "\xff"}',
    "digits": b'{"a": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 50_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "a little too deep": b'{"a":' + b"[" * DEEPEST + b"1" + b"]" * DEEPEST + b"}",
    "half": b'{"a": 1',
    "two": b"{} {}",
    "nothing": b"\x00",
    "mark": "\ufeff{}".encode(),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_json_is_refused(name: str) -> None:
    assert refused(parse_json, ODD[name]).status == 400


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", b"true"])
def test_a_body_is_an_object(body: bytes) -> None:
    assert "must be a JSON object" in refused(fields_of, body).message


def test_json_is_read() -> None:
    tree = {"a": "我 \U0001f600", "b": [[1, 2.5, None, True]], "": {}}
    assert fields_of(json.dumps(tree).encode()) == tree
    assert fields_of(json.dumps(tree, ensure_ascii=False).encode(), "") == tree
    assert fields_of(b" \n ", "application/json; charset=utf-8") == fields_of(b"", "") == {}
    deepest = {"a": json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))}
    assert fields_of(json.dumps(deepest).encode(), "application/vnd.api+json") == deepest


def test_a_form_is_read() -> None:
    assert fields_of(b"q=%E6%88%91+%0A&text=a&text=&text=b", FORM + "; charset=utf-8") == {
        "q": "我 \n",
        "text": ["a", "", "b"],
    }
    assert "is not a form" in refused(fields_of, b"q=%ff", FORM).message
    assert "is not a form" in refused(fields_of, b"q=\xff", FORM).message
    assert "is not a form" in refused(fields_of, b"&".join([b"q=1"] * (FIELDS + 1)), FORM).message


def test_other_types_are_refused() -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
        assert refused(fields_of, b"{}", kind).status == 415


WRONG: dict[str, list[Any]] = {
    "text": [1, True, ["a"], {}, 1.5],
    "texts": [1, [1], ["a", None], {}, ["a"] * 4],
    "whole": [1.0, True, "1.0", "", "--5", "+5", "٣", "1e1", -1, 10, 10**400, "9" * 30, [1], None],
    "number": ["", "nan", "inf", "1_0", "٣", True, [1.0], 10**400, "9" * 60, -0.1, 2.1, "1e999", {}],
    "flag": ["yes", "2", 1, 0, [], {}],
    "choice": ["c", "A", 1, ["a"], {}],
}


def asked(kind: str, value: Any) -> Any:
    fields = Fields({"x": value})
    match kind:
        case "text":
            return fields.text("x")
        case "texts":
            return fields.texts("x", most=3)
        case "whole":
            return fields.whole("x", 5, 0, 9)
        case "number":
            return fields.number("x", 0.5, 0.0, 2.0)
        case "flag":
            return fields.flag("x")
    return fields.choice("x", "a", ("a", "b"))


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_field_is_refused(kind: str) -> None:
    for value in WRONG[kind]:
        if value is None:
            continue
        error = refused(asked, kind, value)
        assert (error.status, error.param) == (400, "x"), value
        assert error.message.startswith("x = "), value
        assert len(error.message) < 200, value


def test_fields_are_read() -> None:
    assert asked("text", "") == ""
    assert asked("texts", "a") == ["a"]
    assert asked("texts", ["a", ""]) == ["a", ""]
    assert [asked("whole", each) for each in (0, 9, "7", "-0", None)] == [0, 9, 7, 0, 5]
    assert [asked("number", each) for each in (0, 2, "1.5", "1e-1", ".5", None)] == [0.0, 2.0, 1.5, 0.1, 0.5, 0.5]
    assert [asked("flag", each) for each in (True, False, "true", "0", None)] == [True, False, True, False, False]
    assert [asked("choice", each) for each in ("b", None)] == ["b", "a"]
    assert "x" not in Fields({"x": None})
    assert "x" in Fields({"x": 0})
    assert refused(Fields({}).text, "x").message == "x: is missing"
    assert Fields({}).text("x", "else") == "else"
    assert refused(Fields({}).texts, "x", most=1).param == "x"
