"""Who may ask: keys of a file, compared in constant time, and never shown again."""

import hashlib
import hmac
from pathlib import Path

from clearhead.errors import UsageError
from clearhead.files import read_small

SHORTEST = 8


class Keys:
    """The keys of a server.

    Args:
        keys: none: everybody may ask.
    """

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def __repr__(self) -> str:
        return f"Keys({len(self._digests)})"

    def owner(self, key: str) -> int | None:
        """Returns the number of a key; None if it is none. The time does not depend on which, nor on how near it is."""
        given, found = _digest(key), None
        for number, digest in enumerate(self._digests):
            if hmac.compare_digest(given, digest):
                found = number
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def read_keys(path: Path | None) -> Keys:
    """Reads the keys of a file: one a line; blank lines and those that begin with # are none.

    Raises:
        UsageError: it cannot be read, holds no key, or one that is too short or not plain ASCII.
    """
    if path is None:
        return Keys([])
    try:
        lines = read_small(path).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--api-key {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--api-key {str(path)!r}: is not UTF-8") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise UsageError(f"--api-key {str(path)!r}: holds no key; write one a line")
    for number, line in enumerate(lines, 1):
        key = line.strip()
        if key and not line.startswith("#") and (len(key) < SHORTEST or not key.isascii() or " " in key):
            raise UsageError(
                f"--api-key {str(path)!r}, line {number}: a key has at least {SHORTEST} ASCII characters, none a space"
            )
    return Keys(keys)
