"""Says what bytes are that should be UTF-8 text and are not: another encoding, or a compressed file."""

import codecs

HEAD = 1 << 16  # bytes at the beginning of a file that are looked at

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive, as .docx and .xlsx are"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"%PDF-", "PDF"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def not_utf8(head: bytes) -> str:
    """Returns what a file is and how to mend it, if it is no UTF-8 text as a whole; else an empty string.

    Single damaged lines, and encodings other than UTF-16, UTF-32 and GB18030, are left to who decodes the lines.

    Args:
        head: its first bytes, ``HEAD`` of them or all.
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            fix = "decompress it, or let its name end in .gz" if name == "gzip" else "take the text out of it"
            return f"is {name}, not text: {fix}"
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "") or _unmarked(head)
    return f"is {encoding}, not UTF-8: convert it by iconv -f {encoding} -t UTF-8" if encoding else ""


def _unmarked(head: bytes) -> str:
    """Returns the encoding of text without a byte order mark; an empty string where it is UTF-8 or not known."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 8 and min(even, odd) <= len(head) // 64:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    # the last line may be cut inside a character
    if not any(map(_is_utf8, lines)) and lines and _is_gb18030(b"\n".join(lines)):
        return "GB18030"
    return ""


def _is_utf8(line: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError:
        return False
    return True


def _is_gb18030(text: bytes) -> bool:
    """Whether bytes read as GB18030 are Chinese: nearly all beyond ASCII are in GB2312, the common characters."""
    try:
        characters = [c for c in codecs.getincrementaldecoder("gb18030")().decode(text) if not c.isascii()]
    except UnicodeDecodeError:
        return False
    common = sum(_in_gb2312(character) for character in characters)
    return len(characters) > 1 and common > 0.9 * len(characters)


def _in_gb2312(character: str) -> bool:
    try:
        return bool(character.encode("gb2312"))
    except UnicodeEncodeError:
        return False
