"""Checking an exported folder again: every way in which it may have changed has a name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import DataError, ModelError
from clearhead.export.certificate import digests
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.exports.verify import verify_folder

pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it runs what is written here")


@pytest.fixture(scope="module")
def exported(toy_run: Path, toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "out"
    return export_run(toy_run, out, target="ctranslate2", certify=Certify(toy_data, 4))


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "folder"))


def reseal(folder: Path, **predicate: Any) -> None:
    """Makes the certificate fit what the files are now, as somebody might who wants to deceive."""
    tree = json.loads((folder / "certificate.json").read_text())
    tree["subject"] = [{"name": name, "digest": {"sha256": digest}} for name, digest in digests(folder).items()]
    tree["predicate"].update(predicate)
    (folder / "certificate.json").write_text(json.dumps(tree))


def test_a_folder_is_what_it_was(folder: Path, toy_run: Path, toy_data: Path) -> None:
    assert verify_folder(folder) == f"{folder}: 6 files are as they were exported"
    text = verify_folder(folder, toy_run, data=toy_data)
    assert f"they come from run {str(toy_run)!r}" in text
    assert text.endswith("ctranslate2 computes from them what the run does, on 4 lines")
    assert verify_folder(folder, toy_run).endswith("on 8 rows of random pieces")


def test_a_run_of_its_name_is_at_hand(folder: Path, toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "runs").mkdir()
    (folder.parent / "runs" / "run").symlink_to(toy_run)
    monkeypatch.chdir(folder.parent)
    reseal(folder)
    assert "they come from run 'runs/run'" in verify_folder(folder)


def test_a_flipped_bit_has_the_name_of_its_file(folder: Path) -> None:
    content = bytearray((folder / "model.bin").read_bytes())
    content[1000] ^= 1
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.bin' is not as it was exported"):
        verify_folder(folder)


def test_another_run_is_told_by_what_differs(folder: Path, toy_run: Path, toy_lm_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the tokenizer of run '\S*' is another: the folder was exported from run"):
        verify_folder(folder, toy_lm_run)
    with pytest.raises(ModelError, match="the weights of run"):
        verify_folder(folder, toy_run, checkpoint="step-00000080")
    for language in ("zh", "en"):
        (tmp_path / f"valid.{language}").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not the text that the certificate is about"):
        verify_folder(folder, toy_run, data=tmp_path)


def test_other_files_under_a_certificate_that_fits_them(folder: Path, toy_run: Path, toy_data: Path) -> None:
    content = bytearray((folder / "model.bin").read_bytes())
    content[len(content) // 2 + 3] ^= 0x40  # the exponent of a weight
    (folder / "model.bin").write_bytes(content)
    reseal(folder)
    verify_folder(folder)
    with pytest.raises(ModelError, match=r"is not what its certificate says: .*outputs differ"):
        verify_folder(folder, toy_run)
    with pytest.raises(ModelError, match=r"is not what its certificate says: "):
        verify_folder(folder, toy_run, data=toy_data)


def test_another_tokenizer_under_a_certificate_that_fits_it(folder: Path, toy_run: Path, toy_data: Path) -> None:
    tree = json.loads((folder / "tokenizer.json").read_text())
    tree["model"]["merges"] = tree["model"]["merges"][:20]
    (folder / "tokenizer.json").write_text(json.dumps(tree))
    reseal(folder)
    with pytest.raises(ModelError, match=r"of \d+ texts have other pieces there"):
        verify_folder(folder, toy_run, data=toy_data)


def test_claims_that_do_not_hold(folder: Path, toy_run: Path, toy_data: Path) -> None:
    reseal(folder, verdict="close")
    with pytest.raises(ModelError, match="says close, and the folder is equal"):
        verify_folder(folder, toy_run, data=toy_data)
    reseal(folder, format={"name": "x"})
    with pytest.raises(ModelError, match="there is no format 'x'"):
        verify_folder(folder, toy_run)


def test_a_signature_that_nobody_checks_is_told(folder: Path) -> None:
    (folder / "model.sig").touch()
    notes: list[str] = []
    verify_folder(folder, note=notes.append)
    assert notes == ["model.sig was not checked: name the public key with --sign"]
