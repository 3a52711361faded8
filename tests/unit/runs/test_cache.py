"""Where encoded corpora are kept."""

import tempfile
from pathlib import Path

import pytest

from clearhead.errors import DataError
from clearhead.runs.cache import _temporary, cache_folder, scored_folder


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/somebody")
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CLEARHEAD_CACHE")
    assert cache_folder() == Path("/xdg/clearhead")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/somebody/.cache/clearhead")


def test_what_is_scored_is_encoded_in_a_temporary_folder_where_the_cache_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    assert scored_folder() == tmp_path / "cache" / "data"
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "file"))
    folder = scored_folder()
    assert folder.is_dir()
    assert scored_folder() == folder
    assert tmp_path not in folder.parents


def test_where_nothing_can_be_written_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    _temporary.cache_clear()
    with pytest.raises(DataError, match=r"nor a temporary folder can be written .*: set CLEARHEAD_CACHE or TMPDIR"):
        scored_folder()
