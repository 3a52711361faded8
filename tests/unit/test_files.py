"""A file that is replaced is the old one or the new one, never half of either."""

from pathlib import Path

import pytest

from clearhead import files
from clearhead.files import remove, sync, write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in (b"one", b"", "二".encode()):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    sync(tmp_path)


@pytest.mark.parametrize("call", ["write_bytes", "replace", "sync"])
def test_a_write_that_fails_leaves_the_old_one(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(files if call == "sync" else Path, call, full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
