"""Exporting a run: the folder is there whole or not at all."""

from pathlib import Path

import pytest

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.verbs.exports.run import export_run


def test_nothing_is_left_of_a_folder_that_could_not_be_written(
    toy_run: Path, toy_lm_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="must be 'rms'"):
        export_run(toy_lm_run, out)

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(DataError, match=r"cannot be written: .*No space left on device"):
            export_run(toy_run, out, target="ctranslate2")
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(UsageError, match="is taken: name another with --out"):
        export_run(toy_run, out, target="ctranslate2")
