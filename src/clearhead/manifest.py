"""The names, sizes and checksums of what a checkpoint directory holds, as its manifest has them; no torch."""

import json
from pathlib import Path
from typing import Any

from clearhead.errors import ModelError
from clearhead.files import read_small

MANIFEST = "manifest.json"
STEP = "step-" + "[0-9]" * 8


def checkpoints_of(run: Path) -> list[Path]:
    """Returns the checkpoints of a run by step, oldest first."""
    return sorted((run / "checkpoints").glob(STEP))


def weights_file(path: Path) -> Path:
    """Returns the file of the weights that a checkpoint is used with, as its manifest names it.

    Raises:
        ModelError: see ``load_checkpoint``.
    """
    return path / ("ema.safetensors" if "ema.safetensors" in read_manifest(path) else "model.safetensors")


def read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Returns size and SHA-256 of each file of a checkpoint, by its path inside."""
    manifest = _read_json(path / MANIFEST)
    if "state.json" not in manifest or not all(_is_entry(entry) for entry in manifest.values()):
        raise ModelError(f"checkpoint file {str(path / MANIFEST)!r} is damaged: not a list of sizes and checksums")
    return {name: (size, digest) for name, (size, digest) in manifest.items()}


def read_state(path: Path) -> dict[str, Any]:
    """Reads the state of a checkpoint as it is in the file, unchecked; raises ModelError if that is no JSON table."""
    return _read_json(path / "state.json")


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], int) and isinstance(entry[1], str)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        tree = json.loads(read_small(file))
    except OSError as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: {str(error)[:200]}") from error
    if not isinstance(tree, dict):
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: not a table")
    return tree
