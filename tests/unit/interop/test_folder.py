"""Folders of other libraries: in one file or in parts, and one-line errors for what is missing or damaged."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clearhead.errors import DataError, ModelError
from clearhead.interop.folder import is_folder, read_config, read_tensors, write_folder

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.arange(3)}


def in_parts(folder: Path) -> None:
    save_file({"a": TENSORS["a"]}, folder / "model-1.safetensors")
    save_file({"b": TENSORS["b"], "c": TENSORS["c"]}, folder / "model-2.safetensors")
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def in_pickle(folder: Path) -> None:
    torch.save(TENSORS, folder / "pytorch_model.bin")


def in_one(folder: Path) -> None:
    save_file(TENSORS, folder / "model.safetensors")


@pytest.mark.parametrize("write", [in_parts, in_pickle, in_one])
def test_tensors_are_read_however_they_are_written(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    tensors = read_tensors(tmp_path)
    assert tensors.keys() == TENSORS.keys()
    assert tensors["b"].dtype == torch.float32
    assert tensors["c"].dtype == torch.int64
    assert all(torch.equal(tensors[name], TENSORS[name].to(tensors[name].dtype)) for name in TENSORS)


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return (__import__("os").system, ("exit 1",))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "model.safetensors",
            b"\x08\0\0\0\0\0\0\0{broken}",
            "model.safetensors' is damaged, or holds more than tensors",
        ),
        (
            "pytorch_model.bin",
            pickle.dumps(Hostile(), 2),
            "pytorch_model.bin' .* holds more than tensors: only tensors are read",
        ),
        ("pytorch_model.bin", b"nothing", "pytorch_model.bin' is damaged"),
        ("model.safetensors.index.json", b"{}", "has no weight_map"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "model-9.safetensors"}}',
            "model-9.safetensors' is missing",
        ),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../x.safetensors"}}', "is missing"),
        ("other", b"", "has no weights: model.safetensors or pytorch_model.bin"),
    ],
)
def test_what_is_damaged_is_named(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=expected):
        read_tensors(tmp_path)


def test_a_tensor_that_no_part_has(tmp_path: Path) -> None:
    in_parts(tmp_path)
    places = {"a": "model-1.safetensors", "z": "model-1.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(
        ModelError, match=r"tensor 'z' is not in model-1.safetensors, where model.safetensors.index.json"
    ):
        read_tensors(tmp_path)


def test_the_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        read_config(tmp_path / "absent")
    with pytest.raises(ModelError, match=r"is neither a run nor a folder of Hugging Face's: it has no config.json"):
        read_config(tmp_path)
    assert not is_folder(tmp_path)
    for content, expected in (("{", "is not JSON"), ("[1]", "is not a table")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ModelError, match=expected):
            read_config(tmp_path)
    assert is_folder(tmp_path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    table = torch.randn(4, 3)
    write_folder(folder, {"model_type": "gpt2"}, {"x": table, "head": table, "y": table.T}, {"more.txt": "我"})
    assert read_config(folder) == {"model_type": "gpt2"}
    assert load_file(folder / "model.safetensors").keys() == {"x", "y"}, "a tied table is written once"
    assert (folder / "more.txt").read_text(encoding="utf-8") == "我"
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_folder(tmp_path / "file" / "x", {}, {}, {})
