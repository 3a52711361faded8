"""What verbs have learned of a model is written whole, and read back; what cannot be is one line."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.runs.learned import keep_learned, read_learned


def test_it_is_read_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    assert read_learned(path, 100) is None
    for content in (b"{}", b"[1]"):
        keep_learned(path, content)
        assert read_learned(path, 100) == content
    assert [each.name for each in tmp_path.iterdir()] == ["learned.json"]


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    keep_learned(path, b"0123456789")
    with pytest.raises(ModelError, match=r"learned.json' cannot be read: more than 9 bytes"):
        read_learned(path, 9)
    with pytest.raises(ModelError, match="cannot be read: not a file"):
        read_learned(tmp_path, 9)
    with pytest.raises(ModelError, match="cannot be written: No such file"):
        keep_learned(tmp_path / "nowhere" / "learned.json", b"")
