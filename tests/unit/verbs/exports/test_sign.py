"""Signatures: by model-signing where it is installed; a key that is none is told before anything is written."""

import sys
from pathlib import Path

import pytest

from clearhead.errors import ModelError, UsageError
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.exports.sign import check_key, check_signature, sign_folder
from tests.keys import write_keys


def test_a_signed_folder_is_that_of_its_key_alone(tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="model-signing is not installed: it signs")
    private, public = write_keys(tmp_path, "mine")
    _, other = write_keys(tmp_path, "other")
    folder = tmp_path / "out"
    (folder / "inner").mkdir(parents=True)
    (folder / "certificate.json").write_text("{}")
    (folder / "inner" / "a.bin").write_bytes(b"a")
    with pytest.raises(ModelError, match=r"has no model\.sig: it was not signed"):
        check_signature(folder, public)
    sign_folder(folder, private)
    check_signature(folder, public)
    assert str(tmp_path).encode() not in (folder / "model.sig").read_bytes()
    with pytest.raises(ModelError, match="is not the signature of this folder by that key"):
        check_signature(folder, other)
    for change in (folder / "inner" / "a.bin", folder / "certificate.json", folder / "new.bin"):
        before = change.read_bytes() if change.exists() else None
        change.write_bytes(b"b")
        with pytest.raises(ModelError, match="is not the signature of this folder by that key"):
            check_signature(folder, public)
        if before is not None:
            change.write_bytes(before)
        else:
            change.unlink()
    with pytest.raises(UsageError, match="must be a private key on an elliptic curve"):
        sign_folder(folder, public)
    with pytest.raises(UsageError, match="must be a public key on an elliptic curve"):
        check_signature(folder, private)


def test_what_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "model_signing", None)
        with pytest.raises(UsageError, match=r"--sign: needs model_signing; pip install 'clearhead\[sign\]'"):
            check_key(tmp_path / "no")
    monkeypatch.setattr("clearhead.verbs.exports.sign._library", lambda what: None)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        check_key(tmp_path / "no")
    (tmp_path / "text").write_text("a key")
    with pytest.raises(UsageError, match="must be a key in a PEM file"):
        check_key(tmp_path / "text")
    with pytest.raises(UsageError, match="must be a key in a PEM file"):
        export_run(tmp_path, tmp_path / "out", certify=Certify(lines=0), sign=tmp_path / "text")
