"""Forms with files: parts as they are, byte by byte; anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.serve.http.multipart import PARTS, Part, parts_of
from clearhead.serve.http.request_error import RequestError

KIND = "multipart/form-data; boundary=edge"
QUOTED = 'a \\"b\\".txt'


def form(*parts: bytes, edge: bytes = b"edge") -> bytes:
    return b"".join(b"--" + edge + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + edge + b"--\r\n"


def part(name: str, content: bytes, file: str | None = None) -> bytes:
    named = f'; filename="{file}"' if file is not None else ""
    return f'Content-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content


def test_parts_are_read() -> None:
    body = form(
        part("q", "我".encode()),
        part("file", b"\r\n--edg\x00\xff\r\n\r\n--e\r\n", QUOTED),
        b'content-type: text/plain\r\ncontent-disposition:form-data;filename="x";name="y"\r\n\r\n',
    )
    first, second, third = parts_of(body, KIND)
    assert (first.name, first.file, first.text) == ("q", None, "我")
    assert (second.file, second.content) == (QUOTED, b"\r\n--edg\x00\xff\r\n\r\n--e\r\n")
    assert third == Part("y", "x", b"")


@pytest.mark.parametrize(
    "kind",
    ['form-data; boundary="edge"', "form-data; BOUNDARY=edge ; charset=utf-8", "form-data;boundary=edge"],
)
def test_a_boundary_is_named_in_several_ways(kind: str) -> None:
    assert [each.content for each in parts_of(form(part("a", b"b")), f"multipart/{kind}")] == [b"b"]


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_any_content_comes_back(contents: list[bytes]) -> None:
    body = form(*(part("file", content, "f") for content in contents), edge=b"=_x:y")
    found = list(parts_of(body, 'multipart/form-data; boundary="=_x:y"'))
    assert [each.content for each in found] == contents


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(part("a", b"b")), "multipart/form-data"),
        (form(part("a", b"b")), "multipart/form-data; boundary="),
        (form(part("a", b"b")), "multipart/form-data; boundary=" + "x" * 71),
        (form(part("a", b"b")), "multipart/form-data; boundary=other"),
        (b"", KIND),
        (b"--edge", KIND),
        (b"--edge\r\n" + part("a", b"b"), KIND),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), KIND),
        (form(b'Content-Disposition: attachment; name="a"\r\n\r\nx'), KIND),
        (form(b"x"), KIND),
        (form(b'Content-Disposition: form-data; name="a"'), KIND),
        (form(*[part("a", b"b")] * (PARTS + 1)), KIND),
    ],
)
def test_anything_else_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(RequestError) as raised:
        list(parts_of(body, kind))
    assert raised.value.status == 400
    assert raised.value.message.startswith("the body is not a form")


def test_as_many_as_there_may_be() -> None:
    assert len(list(parts_of(form(*[part("a", b"b")] * PARTS), KIND))) == PARTS


def test_a_field_is_text() -> None:
    with pytest.raises(RequestError, match="is not UTF-8"):
        _ = Part("a", None, b"\xff").text
