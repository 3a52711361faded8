"""A folder of encoded data is there whole or not at all."""

from pathlib import Path

import pytest

from clearhead.data.encoded import building, map_file, open_or_build, open_sealed, seal
from clearhead.errors import DataError


def write(path: Path, content: bytes = b"abc") -> None:
    with building(path) as folder:
        (folder / "ids").write_bytes(content)
        seal(folder, {"kind": "toy"}, version=3)


def test_what_was_sealed_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "cache" / "one")
    assert open_sealed(tmp_path / "cache" / "one", version=3) == {"format": 3, "sizes": {"ids": 3}, "kind": "toy"}
    assert map_file(tmp_path / "cache" / "one" / "ids")[:] == b"abc"
    write(tmp_path / "cache" / "one", b"abcd")
    assert open_sealed(tmp_path / "cache" / "one", version=3)["sizes"] == {"ids": 4}


def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path) -> None:
    def fails() -> None:
        with building(tmp_path / "one") as folder:
            (folder / "ids").write_bytes(b"abc")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_damage_and_other_versions_are_named(tmp_path: Path) -> None:
    write(tmp_path / "one")
    with pytest.raises(DataError, match="damaged or of another version; delete the folder"):
        open_sealed(tmp_path / "one", version=4)
    (tmp_path / "one" / "ids").write_bytes(b"ab")
    with pytest.raises(DataError, match="damaged or of another version; delete the folder"):
        open_sealed(tmp_path / "one", version=3)
    (tmp_path / "one" / "meta.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_sealed(tmp_path / "one", version=3)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"encoded data cannot be written to '.*file'"):
        write(tmp_path / "file" / "one")


def test_it_is_built_once_and_again_where_it_is_damaged(tmp_path: Path) -> None:
    built: list[Path] = []

    def make(folder: Path) -> None:
        built.append(folder)
        (folder / "ids").write_bytes(b"abc")
        seal(folder, {}, version=3)

    def read(path: Path) -> Path:
        open_sealed(path, version=3)
        return path

    def opened(key: str, *, reuse: bool = True) -> Path:
        return open_or_build(["toy", key], tmp_path, reuse=reuse, read=read, write=make)

    path = opened("one")
    assert opened("one") == path
    assert len(built) == 1
    assert opened("two") != path
    assert opened("one", reuse=False) == path
    assert len(built) == 3
    (path / "ids").write_bytes(b"")
    assert opened("one") == path
    assert len(built) == 4
