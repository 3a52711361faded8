"""The certificate of an exported folder: an in-toto Statement v1 over the digests of its files, with our predicate.

The layout is that of https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md; digests are those of
OpenSSF model signing, whose tool may sign the folder as it is.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.files import read_json
from clearhead.version import VERSION

NAME, SIGNATURE = "certificate.json", "model.sig"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://clearhead/parity/v1"
PARTS = ("source", "format", "tool", "inputs", "verdict")
"""What every predicate has."""


def sha256(content: bytes) -> str:
    """Returns the digest of some bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_of(path: Path) -> str:
    """Returns the digest of a file; raises ModelError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def exported_files(folder: Path) -> list[str]:
    """Returns every file in a folder but the certificate and its signature, by path inside."""
    files: list[str] = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]  # which are not walked into
        files += [Path(place, name).relative_to(folder).as_posix() for name in [*names, *links]]
    return sorted(name for name in files if name not in (NAME, SIGNATURE))


def digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each of these files."""
    return {name: digest_of(folder / name) for name in exported_files(folder)}


def tools(runtime: str | None) -> Tree:
    """Returns what an artefact was made and compared with: versions, the kind of machine, threads."""
    libraries = {runtime: version(runtime)} if runtime else {}
    return {
        "clearhead": VERSION,
        "torch": version("torch"),
        **libraries,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "threads": torch.get_num_threads(),
    }


def write_certificate(folder: Path, predicate: Tree) -> None:
    """Writes ``certificate.json`` over the files that are in a folder; raises OSError if that fails."""
    subject = [{"name": name, "digest": {"sha256": digest}} for name, digest in digests(folder).items()]
    made = {"made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    statement = {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {**predicate, **made},
    }
    (folder / NAME).write_bytes((json.dumps(statement, ensure_ascii=False, indent=1) + "\n").encode())


def read_certificate(folder: Path) -> tuple[dict[str, str], Tree]:
    """Reads the certificate of a folder: the digests of its files by path inside, and the predicate.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"folder {str(folder)!r}: no such directory")
    path = folder / NAME
    if not path.is_file():
        raise ModelError(f"folder {str(folder)!r} has no {NAME}: clearhead export writes one")
    tree = read_json(path)
    if tree.get("_type") != STATEMENT or tree.get("predicateType") != PREDICATE:
        raise ModelError(f"{str(path)!r} is no certificate of clearhead: its predicateType must be {PREDICATE}")
    try:
        subject = {str(entry["name"]): str(entry["digest"]["sha256"]) for entry in tree["subject"]}
        predicate = {**tree["predicate"]}
    except (LookupError, TypeError) as error:
        raise ModelError(f"{str(path)!r} is damaged: {type(error).__name__} {error}") from error
    for part in PARTS:
        if not isinstance(predicate.get(part), str if part == "verdict" else Mapping):
            raise ModelError(f"{str(path)!r} is damaged: predicate.{part} is missing")
    return subject, predicate


def check_files(folder: Path, subject: Mapping[str, str]) -> None:
    """Checks that a folder holds the files of its certificate, as they were written, and no others.

    Raises:
        ModelError: a file is missing, changed or added; the message names it.
    """
    there = digests(folder)
    for name, digest in subject.items():
        if name not in there:
            raise ModelError(f"{str(folder / name)!r} is missing: the certificate names it")
        if there[name] != digest:
            raise ModelError(f"{str(folder / name)!r} is not as it was exported: its SHA-256 is another")
    for name in there:
        if name not in subject:
            raise ModelError(f"{str(folder / name)!r} is not in the certificate: it was added later")


def rounded(value: Any) -> Any:
    """Returns a tree whose fractions have six digits, and null for what is no number, which JSON does not have."""
    match value:
        case dict():
            return {key: rounded(inner) for key, inner in value.items()}
        case list() | tuple():
            return [rounded(inner) for inner in value]
        case float():
            return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return value
