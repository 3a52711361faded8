"""Unicode and CJK normalization, its inverse for Chinese punctuation, and counts of what it changes."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Literal, get_args

from clearhead.errors import DataError, UsageError, nearest

Normalization = Literal["none", "nfc", "nfkc", "halfwidth"]

# Contents of regex character classes, for Python's re and for Oniguruma.
HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
WIDE_PUNCTUATION = "\u3000-\u3004\u3008-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
UNSPACED = HAN + KANA + WIDE_PUNCTUATION  # characters written without spaces between words

HALF_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # for ``str.translate``
HALF_WIDTH |= {ord(wide): half for wide, half in zip("\u3000。、“”‘’「」『』", ' .,""\'\'""""', strict=True)}
_FULL_WIDTH = str.maketrans(",.!?;:", "，。！？；：")
_CJK = re.compile(f"[{UNSPACED}]")
_MARKS = re.compile(f"(?<=[{UNSPACED}”’])(?:[,.!?;:]++(?![A-Za-z0-9])|[,!?;:]++)|[,!?;:](?=[{UNSPACED}])")
_OPEN = re.compile("[(\"']")
_PAIRS = (
    (re.compile(r"\(([^()]*)\)"), "（", "）"),
    (re.compile(r'"([^"]*)"'), "“", "”"),
    (re.compile(r"(?<![A-Za-z])'([^']*)'(?![A-Za-z])"), "‘", "’"),
)


def normalize(text: str, mode: Normalization) -> str:
    """Returns ``text`` in one of the stated forms.

    ``none`` changes nothing; ``nfc`` and ``nfkc`` are the Unicode forms; ``halfwidth`` turns full-width ASCII
    (letters, digits, ``，！？；：（）`` ...), the ideographic space, ``。 、`` and the quotes ``“ ” ‘ ’ 「 」 『 』``
    into half-width ASCII and leaves all other characters (also ``《》…——``) as they are.

    Raises:
        DataError: ``text`` has a lone surrogate, which is half a character; the message names its position.
        UsageError: ``mode`` is unknown.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        surrogate = f"a lone surrogate U+{ord(text[error.start]):04X} at position {error.start}"
        raise DataError(f"text has {surrogate}: that is no character; was the input decoded as UTF-8?") from error
    match mode:
        case "none":
            return text
        case "nfc" | "nfkc":
            return unicodedata.normalize("NFC" if mode == "nfc" else "NFKC", text)
        case "halfwidth":
            return text.translate(HALF_WIDTH)
    raise UsageError(f"normalization = {mode!r}{nearest(mode, get_args(Normalization))}")


def denormalize(text: str, mode: Normalization) -> str:
    """Restores the Chinese punctuation that ``halfwidth`` removed; with the other modes it changes nothing.

    These become full-width: ``, ! ? ; :`` beside a CJK character, a dot after one (but not before a letter or
    digit, as in ``文件.txt``, nor in a row of dots), brackets and quotes around text with a CJK character. Not
    restored, because the text does not tell: full-width letters and digits, ``、`` (becomes ``，``), corner
    quotes (become ``“ ”``), marks between Latin words. Normalizing the result gives ``text`` again.
    """
    if mode != "halfwidth":
        return text
    for pattern, left, right in _PAIRS:
        text = pattern.sub(functools.partial(_widen, left=left, right=right), text)
    return _MARKS.sub(lambda m: m[0] if ".." in m[0] else m[0].translate(_FULL_WIDTH), text)


def unchanged(text: str, mode: Normalization) -> str:
    """Returns the beginning of ``text`` that ``denormalize`` restores alike, whatever follows ``text``.

    A bracket or quote may wait for its other half, and a mark for the character behind it.
    """
    if mode != "halfwidth":
        return text
    return _OPEN.split(text, maxsplit=1)[0].rstrip(",.!?;:")


def _widen(pair: re.Match[str], *, left: str, right: str) -> str:
    return left + pair[1] + right if _CJK.search(pair[1]) else pair[0]


def changed(lines: Iterable[str], mode: Normalization) -> Counter[str]:
    """Counts what ``normalize`` changes: ``"lines"`` is the number of lines, every other key is ``"old -> new"``.

    Characters that are composed (``nfc``, ``nfkc``) count only in ``"lines"``.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        if normalize(line, mode) != line:
            counts["lines"] += 1
            pairs = ((char, normalize(char, mode)) for char in line)
            counts.update(f"{old} -> {new}" for old, new in pairs if old != new)
    return counts
