"""Files that are no UTF-8 text are said to be what they are; damaged UTF-8 and other languages are not."""

import bz2
import codecs
import gzip

import pytest

from clearhead.data.charset import not_utf8

CHINESE = "我吃了一个苹果。\n他喝水。\nplain\n" * 9
FRENCH = "Où est le café ?\nIl a été là, déjà, à côté.\n"


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (gzip.compress(CHINESE.encode()), "is gzip, not text"),
        (bz2.compress(CHINESE.encode()), "is bzip2, not text"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (CHINESE.encode("utf-16"), "is UTF-16, not UTF-8: convert it by iconv -f UTF-16 -t UTF-8"),
        (codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"), "is UTF-16, not"),
        (FRENCH.encode("utf-16-le"), "is UTF-16LE, not"),
        (FRENCH.encode("utf-16-be"), "is UTF-16BE, not"),
        (FRENCH.encode("utf-32"), "is UTF-32, not"),
        (CHINESE.encode("gb18030"), "is GB18030, not UTF-8"),
        (CHINESE.encode("gb18030")[:3], ""),
        (CHINESE.encode("gb18030")[:-4][:21], "is GB18030, not UTF-8"),
    ],
)
def test_what_it_is(head: bytes, what: str) -> None:
    assert not_utf8(head).startswith(what)
    assert bool(not_utf8(head)) is bool(what)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a",
        b"\n",
        CHINESE.encode(),
        CHINESE.encode()[:-8][:100],
        codecs.BOM_UTF8 + CHINESE.encode(),
        CHINESE.encode() + b"\xff\xfe\n",
        FRENCH.encode("latin-1"),
        "Привет, как дела? Хорошо.\n".encode("koi8-r"),
        b"ab\xff\n",
        b"ab\0cde\n" * 3,
        "日本語のテキスト。\n".encode("shift-jis"),
    ],
)
def test_what_it_is_not(head: bytes) -> None:
    assert not_utf8(head) == ""
