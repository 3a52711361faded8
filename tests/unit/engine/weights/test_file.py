"""A packed model comes back from its file bit for bit, and no damage or foreign header gets past it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.file import MAGIC, PREAMBLE, about_model, is_model_file, open_model, write_model
from clearhead.errors import DataError, ModelError
from tests.native import NATIVE, native
from tests.small import shake, small, small_gpt

pytestmark = NATIVE
ABOUT = {"task": "translation", "step": 3, "words": ["我"]}
FILES = {"tokenizer/joint.json": b"{}", "labels.json": b""}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "small.clearhead"
    write_model(path, native(shake(small(n_encoder_layers=1, n_decoder_layers=1)), weights="int8").image, ABOUT, FILES)
    return path


def logits(model: NativeModel) -> np.ndarray[Any, np.dtype[np.float32]]:
    rows = model.rows()
    if model.image.model.encoder_layers:
        rows.join_sources([[4, 5, 2], [6, 2]])
    else:
        rows.join_empty(2)
    return rows.extend(np.array([1, 1], np.int32), np.array([1, 1], np.int32))


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("make", [small, small_gpt])
def test_what_is_opened_is_what_was_written(make: Any, weights: Any, tmp_path: Path) -> None:
    model = native(shake(make()), weights=weights)
    write_model(tmp_path / "a", model.image, ABOUT, FILES)
    file = open_model(tmp_path / "a")
    assert (file.about, file.files, file.weights) == (ABOUT, FILES, weights)
    assert np.array_equal(logits(NativeModel(file.image)), logits(model))
    write_model(tmp_path / "b", file.image, ABOUT, FILES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert is_model_file(tmp_path / "a")
    assert about_model(tmp_path / "a") == ABOUT


def test_a_file_that_is_changed_anywhere_is_refused(path: Path, tmp_path: Path) -> None:
    content, changed = path.read_bytes(), tmp_path / "changed"
    for at in np.random.default_rng(0).integers(0, len(content), 60).tolist():
        changed.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        if changed.read_bytes()[at : at + 1] == content[at : at + 1] or _is_padding(content, at):
            continue
        with pytest.raises(ModelError, match=r"damaged|no model|format"):
            open_model(changed)


def test_a_file_that_is_cut_short_is_refused(path: Path, tmp_path: Path) -> None:
    content, short = path.read_bytes(), tmp_path / "short"
    for size in (0, 1, 15, 63, 64, 65, 1000, len(content) // 2, len(content) - 200):
        short.write_bytes(content[:size])
        with pytest.raises(ModelError, match=r"damaged|no model"):
            open_model(short)
        if size <= 1000:
            with pytest.raises(ModelError, match=r"damaged|no model"):
                about_model(short)


def test_a_header_that_asks_for_what_is_not_there_is_refused_or_harmless(path: Path, tmp_path: Path) -> None:
    tree, changed = _header(path), tmp_path / "changed"
    refused = 0
    for place, value in _numbers(tree["model"]):
        for other in (0, 2 * value + 16, (1 << 32) + value):
            place[0][place[1]] = other
            _with_header(path, changed, tree)
            try:
                logits(NativeModel(open_model(changed).image))
            except ModelError:
                refused += 1
        place[0][place[1]] = value
    assert refused > 50


def test_a_file_of_another_version_or_none_is_refused(path: Path, tmp_path: Path) -> None:
    tree, changed = _header(path), tmp_path / "changed"
    for key, value in (("layout", 99), ("weights", "int3")):
        _with_header(path, changed, {**tree, key: value})
        for read in (open_model, about_model):
            with pytest.raises(
                ModelError, match=r"packs weights in another way than this version, .*: export it again"
            ):
                read(changed)
    content = path.read_bytes()
    changed.write_bytes(content[:16] + (2).to_bytes(8, "little") + content[24:])
    with pytest.raises(ModelError, match=r"has format 2; this version of clearhead, .*, reads 1"):
        open_model(changed)
    changed.write_bytes(b"PK" + content)
    assert not is_model_file(changed)
    assert not is_model_file(tmp_path)
    with pytest.raises(ModelError, match="is no model that clearhead wrote"):
        open_model(changed)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        open_model(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_model(tmp_path / "no" / "where", open_model(path).image, {}, {})


def _is_padding(content: bytes, at: int) -> bool:
    """Whether a byte is one of the zeros between the header and the first block, or after the last one."""
    size = int.from_bytes(content[24:32], "little")
    end = PREAMBLE + size
    return end <= at < end + -end % 64 or at >= len(content) - 128


def _header(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    tree: dict[str, Any] = json.loads(content[PREAMBLE : PREAMBLE + int.from_bytes(content[24:32], "little")])
    return tree


def _with_header(path: Path, changed: Path, tree: dict[str, Any]) -> None:
    content, text = path.read_bytes(), json.dumps(tree).encode()
    start = PREAMBLE + int.from_bytes(content[24:32], "little")
    blocks = content[start + -start % 64 :]
    first = MAGIC + content[16:24] + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest()
    changed.write_bytes(first + text + bytes(-len(text) % 64) + blocks)


def _numbers(tree: Any) -> Iterator[tuple[tuple[Any, Any], int]]:
    """Yields every place of a whole number in the header, and the number."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from _numbers(value)
        elif isinstance(value, int):
            yield (tree, key), value
