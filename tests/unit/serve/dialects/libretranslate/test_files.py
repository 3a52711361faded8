"""Files: off by default; translated by line, tag or subtitle; kept for a while under random names."""

import time
from pathlib import Path
from typing import Any

import pytest

from clearhead.serve.dialects.libretranslate import files as module
from clearhead.serve.dialects.libretranslate.files import LARGEST, decoded
from clearhead.serve.http.request_error import RequestError
from tests.serving import Answer, Asking, asking, site_of

A, B = "我们今天在家。", "她在吗？"
FIELDS = {"source": "zh", "target": "en"}


def form_of(name: str, content: bytes, fields: dict[str, str], line: str = "\r\n") -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--edge{line}Content-Disposition: form-data; name="{key}"{line}{line}{value}{line}'
        for key, value in fields.items()
    ]
    parts.append(f'--edge{line}Content-Disposition: form-data; name="file"; filename="{name}"{line}{line}')
    body = "".join(parts).encode() + content + f"{line}--edge--{line}".encode()
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


def sent(ask: Asking, name: str, content: str | bytes, **fields: str) -> Answer:
    content = content.encode() if isinstance(content, str) else content
    body, headers = form_of(name, content, {**FIELDS, **fields})
    return ask.post("/translate_file", body, headers=headers)


def file_of(ask: Asking, name: str, content: str | bytes) -> str:
    answer = sent(ask, name, content)
    assert answer.status == 200, answer.text
    url = answer.json["translatedFileUrl"]
    assert url.startswith("http://localhost/download_file/")
    found = ask.get(url.removeprefix("http://localhost"))
    assert found.headers["content-type"] == "application/octet-stream", "no page of this server's"
    assert found.headers["content-disposition"].startswith("attachment")
    return found.text


def line(ask: Asking, text: str) -> str:
    translated: str = ask.post("/translate", {"q": text, **FIELDS}).json["translatedText"]
    return translated


def test_a_text_is_translated_line_by_line(toy_asking: Asking) -> None:
    a, b = line(toy_asking, A), line(toy_asking, B)
    assert file_of(toy_asking, "a.txt", f"{A}\n\n{B}\n") == f"{a}\n\n{b}\n"
    assert file_of(toy_asking, "A.TXT", f"\ufeff{A}\r\n{B}") == f"{a}\n{b}"
    assert file_of(toy_asking, "a.txt", f"{A}\n".encode("utf-16")) == f"{a}\n"
    many = 150
    assert file_of(toy_asking, "a.txt", f"{A}\n{B}\n" * many) == f"{a}\n{b}\n" * many


def test_a_page_is_translated_between_its_tags(toy_asking: Asking) -> None:
    a = line(toy_asking, A)
    page = "<!doctype html><title>{0}</title><p class=x>{0}<script>{1}</script></p>"
    assert file_of(toy_asking, "a.html", page.format(A, B)) == page.format(a, B)


def test_subtitles_keep_their_times(toy_asking: Asking) -> None:
    a, b = line(toy_asking, A), line(toy_asking, B)
    film = "1\n00:00:01,000 --> 00:00:02,500\n{0}\n\n2\n00:00:03,000 --> 00:00:04,000 X1:0\n<i>{1}</i>\n\n"
    assert file_of(toy_asking, "a.srt", film.format(A, B)) == film.format(a, b)
    assert file_of(toy_asking, "a.srt", f"no subtitles {A}") == f"no subtitles {A}"
    two = "7\n00:01,0 --> 00:02,0\n{}\n"
    shared = file_of(toy_asking, "a.srt", two.format("我们\n今天在家。"))
    assert shared.count("\n") == two.count("\n") + 1, "a line break stays one"
    assert shared == two.format("\n".join(shared.split("\n")[2:4]))
    assert " ".join(shared.split("\n")[2:4]) == a
    marked = "7\n00:01,0 --> 00:02,0\n{{\\an8}}{}\n- {}\n"
    assert file_of(toy_asking, "a.srt", marked.format(A, B)) == marked.format(a, b)


@pytest.mark.parametrize(
    ("name", "content", "fields", "status", "message"),
    [
        ("a.pdf", b"x", {}, 400, "Invalid request: file format not supported"),
        ("txt", b"x", {}, 400, "Invalid request: file format not supported"),
        ("a.txt", b"", {}, 400, "Invalid request: empty file"),
        ("a.txt", b"\xff\xff", {}, 400, "Invalid request: the file is not UTF-8"),
        ("a.txt", b"x", {"source": ""}, 400, "Invalid request: missing source parameter"),
        ("a.txt", b"x", {"target": "fr"}, 400, "fr is not supported"),
        ("", b"x", {}, 400, "Invalid request: missing file parameter"),
        ("a.txt", b"x" * (LARGEST + 1), {}, 413, f"the file is longer than {LARGEST} bytes"),
    ],
)
def test_what_is_wrong_is_said(
    name: str, content: bytes, fields: dict[str, str], status: int, message: str, toy_asking: Asking
) -> None:
    answer = sent(toy_asking, name, content, **fields)
    assert (answer.status, answer.json) == (status, {"error": message})


def test_what_is_no_such_form_is_refused(toy_asking: Asking) -> None:
    body, headers = form_of("a.txt", b"x", FIELDS)
    for broken, kind in (
        (body, "multipart/form-data"),
        (body[:-9], headers["Content-Type"]),
        (b"\x00\xff" * 50, headers["Content-Type"]),
        (b'{"file": "a.txt", "content": "x", "source": "zh", "target": "en"}', "application/json"),
        (b"file=a.txt&content=x&source=zh&target=en", "application/x-www-form-urlencoded"),
    ):
        answer = toy_asking.post("/translate_file", broken, headers={"Content-Type": kind})
        assert answer.status == 400, answer.text
        assert "\n" not in answer.json["error"]


def test_a_body_that_is_longer_is_not_read(toy_asking: Asking) -> None:
    body, headers = form_of("a.txt", b"x" * (LARGEST + 70_000), FIELDS)
    assert toy_asking.post("/translate_file", body, headers=headers).status == 413


def test_a_name_is_random_and_lasts_for_a_while(toy_asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [sent(toy_asking, "a.txt", "x").json["translatedFileUrl"] for _ in range(2)]
    names = [url.rpartition("/")[2] for url in urls]
    assert names[0] != names[1]
    assert all(len(name) == 36 and set(name[:32]) <= set("0123456789abcdef") for name in names)
    assert toy_asking.get(f"/download_file/{names[0]}").status == 200
    for wrong in ("x", "../keys", names[0][:-4], names[0].upper(), ".."):
        assert toy_asking.get(f"/download_file/{wrong}").status == 404
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.KEPT + 1)
    assert toy_asking.get(f"/download_file/{names[0]}").json == {"error": "Invalid filename"}


def test_only_so_much_is_kept(toy_asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 100)
    monkeypatch.setattr(module, "KEPT", 0.0)
    assert sent(toy_asking, "a.txt", "1" * 101).status == 503


def test_it_is_off_by_default(toy_run: Path) -> None:
    with site_of([f"mt={toy_run}"]) as site:
        ask = asking(site)
        answer = sent(ask, "a.txt", A)
        assert (answer.status, answer.json) == (403, {"error": "Files translation are disabled on this server."})
        assert ask.get("/download_file/x").status == 403


def test_a_key_may_come_with_the_file(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-mine\n")
    with site_of([f"mt={toy_run}"], api_key=keys, files=True) as site:
        ask = asking(site)
        assert sent(ask, "a.txt", "x", api_key="a-key-of-mine").status == 200
        assert sent(ask, "a.txt", "x", api_key="another-key").status == 403


def test_files_are_decoded() -> None:
    assert decoded(b"a\r\nb\rc") == "a\nb\nc"
    for content in (b"\xff", "é".encode("latin-1"), b"\xff\xfe\x00"):
        with pytest.raises(RequestError):
            decoded(content)


def test_settings_of_the_test_hold(toy_site: Any) -> None:
    assert toy_site.settings.files
