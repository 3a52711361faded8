"""Key pairs for signatures."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Writes a key pair on P-256, as openssl does: NAME.pem and NAME.pub."""
    private: Any = ec.generate_private_key(ec.SECP256R1())
    own = private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    shared = private.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    for path, content in zip(paths, (own, shared), strict=True):
        path.write_bytes(content)
    return paths
