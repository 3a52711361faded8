"""Exporting a run: the folder is there whole or not at all."""

from pathlib import Path

import pytest

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.verbs.exports.run import Certify, export_all, export_run


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


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ({"max_loss": 101.0}, "max_loss = 101.0: must be"),
        ({"max_loss": float("nan")}, "max_loss = nan: must be"),
        ({"lines": -1}, "lines = -1: must be"),
        ({"data": 3}, "data = 3: must be"),
    ],
)
def test_how_a_comparison_cannot_be(words: dict[str, object], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        Certify(**words)  # type: ignore[arg-type]


def test_a_disk_that_fills_at_the_certificate_leaves_nothing(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.name == "certificate.json":
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"cannot be written: .*No space left on device"):
        export_run(toy_run, tmp_path / "out", target="ctranslate2", certify=Certify(lines=0))
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint_is_told(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_bytes((toy_run / "recipe.toml").read_bytes())
    for export in (export_run, export_all):
        with pytest.raises(ModelError, match="has no checkpoint yet"):
            export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
