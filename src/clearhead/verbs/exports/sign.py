"""Signs an exported folder with a private key, as OpenSSF model signing does, and checks such a signature."""

from pathlib import Path
from typing import Any

from clearhead.errors import ModelError, UsageError
from clearhead.export.certificate import SIGNATURE


def _library(what: str) -> Any:
    try:
        import model_signing
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise UsageError(f"--sign: needs {error.name}; pip install 'clearhead[sign]'") from error
    del hashing, signing, verifying  # which it has as attributes from here on
    return getattr(model_signing, what)


def check_key(key: Path) -> None:
    """Checks, before an export takes its time, that the library and the key are there.

    Raises:
        UsageError: one of them is not, or the file holds no key.
    """
    _library("signing")
    try:
        content = key.read_bytes()
    except OSError as error:
        raise UsageError(f"--sign {str(key)!r}: cannot be read: {error.strerror}") from error
    if b"-----BEGIN" not in content:
        raise UsageError(f"--sign {str(key)!r}: must be a key in a PEM file")


def sign_folder(folder: Path, key: Path) -> None:
    """Writes ``model.sig`` over all files of a folder, the certificate too.

    Raises:
        UsageError: the key is no private key on an elliptic curve, or needs a password.
    """
    signing, hashing = _library("signing"), _library("hashing")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
        signer.set_hashing_config(_everything(hashing, folder)).sign(folder, folder / SIGNATURE)
    except (ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(f"--sign {str(key)!r}: must be a private key on an elliptic curve: {reason}") from error


def check_signature(folder: Path, key: Path) -> None:
    """Checks ``model.sig`` of a folder by the public key of its signer.

    Raises:
        ModelError: there is none, or it is of another key or of other files.
        UsageError: the file holds no public key on an elliptic curve.
    """
    check_key(key)
    verifying = _library("verifying")
    if not (folder / SIGNATURE).is_file():
        raise ModelError(f"folder {str(folder)!r} has no {SIGNATURE}: it was not signed")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"--sign {str(key)!r}: must be a public key on an elliptic curve") from error
    try:
        verifier.verify(folder, folder / SIGNATURE)
    except Exception as error:  # the library raises what its own parts raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ModelError(
            f"{str(folder / SIGNATURE)!r} is not the signature of this folder by that key: {reason}"
        ) from error


def _everything(hashing: Any, folder: Path) -> Any:
    """Returns how files are found and hashed: all but the signature."""
    return hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)
