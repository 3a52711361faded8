"""Keys: read from a file, found in constant time, and shown nowhere."""

import hmac
from pathlib import Path

import pytest

from clearhead.errors import UsageError
from clearhead.serve.http import keys as module
from clearhead.serve.http.keys import Keys, read_keys


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "keys.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_keys_have_owners(tmp_path: Path) -> None:
    keys = read_keys(written(tmp_path, "# ours\n\nfirst-key-1\n  second-key-2  \r\n"))
    assert keys
    assert [keys.owner(key) for key in ("first-key-1", "second-key-2", "first-key-", "", "\ud800", "我")] == [
        0, 1, None, None, None, None,
    ]  # fmt: skip
    assert "first" not in repr(keys)
    assert "first" not in repr(vars(keys))


def test_without_a_file_there_are_none() -> None:
    assert not read_keys(None)


def test_every_key_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    keys = Keys([f"key-number-{number}" for number in range(5)])
    for key in ("key-number-0", "key-number-4", "k", "key-number-" * 1000):
        seen.clear()
        keys.owner(key)
        assert seen == [(32, 32)] * 5, "digests of one length, all of them"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "holds no key"),
        ("# none\n\n", "holds no key"),
        ("good-key-1\nshort\n", "line 2: a key has at least 8"),
        ("a key with spaces\n", "line 1"),
        ("schlüssel-12345\n", "line 1"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_without_showing_it(content: str | bytes, rule: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rule) as raised:
        read_keys(written(tmp_path, content))
    assert "good-key" not in str(raised.value)
    assert "spaces" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--api-key '.*gone.txt': No such file"):
        read_keys(tmp_path / "gone.txt")
