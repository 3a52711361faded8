"""Checkpoints come back bit for bit, are whole or not there, and damage anywhere is named."""

import os
import shutil
import tracemalloc
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clearhead import checkpoint
from clearhead.checkpoint import (
    Checkpoint,
    adopt_model_tensors,
    average_checkpoints,
    drop_checkpoint,
    load_checkpoint,
    load_matching,
    load_model_tensors,
    load_weights,
    model_tensors,
    save_checkpoint,
    tensor_sizes,
    tidy,
    verify_checkpoint,
)
from clearhead.errors import DataError, ModelError
from clearhead.manifest import checkpoints_of
from tests.small import random_rows, small

FILES = {"recipe.toml": b"name = 'x'\n", "tokenizer/joint.json": b"{}"}
STATE = {"step": 3, "scores": {"loss": 0.1 + 0.2}, "best_score": None, "name": "零"}


def contents(value: float = 1.0) -> Checkpoint:
    draw = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(4, 5, generator=draw) * value, "b": torch.tensor([float("nan"), -0.0, 1e-45])}
    return Checkpoint({"model": weights, "optimizer": {"step/a": torch.tensor(7)}}, STATE, FILES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoints" / "step-00000003", contents())
    return tmp_path / "checkpoints" / "step-00000003"


def test_what_is_saved_comes_back(path: Path) -> None:
    loaded = load_checkpoint(path)
    assert loaded.state == STATE
    assert loaded.tensors.keys() == {"model", "optimizer"}
    for stem, tensors in contents().tensors.items():
        for name, tensor in tensors.items():
            assert loaded.tensors[stem][name].numpy().tobytes() == tensor.numpy().tobytes(), name
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert load_checkpoint(path, ("model",)).tensors.keys() == {"model"}
    assert load_checkpoint(path, ()).tensors == {}
    assert load_checkpoint(path, ("ema", "model")).tensors.keys() == {"model"}, "what is not there is left out"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


EVERY_FILE = ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json", *FILES]


@pytest.mark.parametrize("name", EVERY_FILE)
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "longer", "flipped"])
def test_damage_is_named(path: Path, name: str, damage: str) -> None:
    file = path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    whole = file.read_bytes()
    changed = {"cut": whole[:-1], "empty": b"", "longer": whole + b"x", "flipped": bytes(content)}
    file.unlink() if damage == "gone" else file.write_bytes(changed[damage])
    # a flip in the manifest names the file whose entry it is in
    with pytest.raises(
        ModelError, match=r"checkpoint file '.*(json|safetensors|toml)'" if damage == "flipped" else name
    ):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["optimizer.safetensors", *FILES])
def test_damage_of_what_is_not_read_is_seen_by_verify_alone(path: Path, name: str) -> None:
    (path / name).write_bytes(b"damage")
    expected = contents().tensors["model"]
    assert torch.equal(load_checkpoint(path, ("model",)).tensors["model"]["a"], expected["a"])
    assert torch.equal(load_weights(path)[0]["a"], expected["a"])
    with pytest.raises(ModelError, match=name):
        verify_checkpoint(path)


@pytest.mark.long
def test_every_flipped_bit_of_the_manifest_is_seen(path: Path) -> None:
    file = path / "manifest.json"
    whole = file.read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        with pytest.raises(ModelError):
            load_checkpoint(path)


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"model.safetensors": 3}', '{"state.json": [1]}', "null"])
def test_a_manifest_of_another_shape_is_a_damaged_checkpoint(path: Path, manifest: str) -> None:
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load_checkpoint(path)


def test_a_format_of_the_future_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    save_checkpoint(tmp_path / "one", contents())
    monkeypatch.undo()
    with pytest.raises(
        ModelError, match="has format 3, written by clearhead another version; this version reads formats up to 2"
    ):
        load_checkpoint(tmp_path / "one")


@pytest.mark.parametrize("call", ["save_file", "sync", "_digest"])
def test_an_interrupted_save_leaves_the_one_before(path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for end, raised in ((full, DataError), (killed, KeyboardInterrupt)):
        monkeypatch.setattr(checkpoint, call, end)
        with pytest.raises(raised):
            save_checkpoint(path, contents(2.0))
        with pytest.raises(raised):
            save_checkpoint(path.with_name("step-00000004"), contents(2.0))
        monkeypatch.undo()
        assert torch.equal(load_checkpoint(path).tensors["model"]["a"], contents().tensors["model"]["a"])
        assert [one.name for one in checkpoints_of(path.parents[1])] == [path.name]
    save_checkpoint(path, contents(2.0))  # what a killed save left behind is no hindrance
    assert torch.equal(load_checkpoint(path).tensors["model"]["a"], contents(2.0).tensors["model"]["a"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"checkpoint '.*file/one' cannot be written"):
        save_checkpoint(tmp_path / "file" / "one", contents())


def test_files_are_on_the_disk_before_the_name_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    synced, renamed = checkpoint.sync, Path.rename
    monkeypatch.setattr(checkpoint, "sync", lambda file: (log.append(file.name), synced(file)))
    monkeypatch.setattr(Path, "rename", lambda self, new: (log.append("rename"), renamed(self, new))[1])
    save_checkpoint(path, contents())
    written = {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json", "recipe.toml"}
    written |= {"joint.json", "tokenizer", f"{path.name}.tmp"}  # folders too: they hold the names
    assert set(log[: log.index("rename")]) == written
    # the one that was there keeps its name until the new one takes it
    assert log[log.index("rename") :] == ["rename", "rename", "checkpoints"]


def test_a_tied_tensor_is_kept_once_and_comes_back_for_all() -> None:
    one, other = small(seed=1, tie="all"), small(seed=2, tie="all")
    kept = model_tensors(one)
    tied = [name for name in one.state_dict() if name not in kept]
    assert sorted(tied) == ["decoder.embedding.tokens.weight", "lm_head.weight"]
    load_model_tensors(other, kept, "here")
    ids = torch.tensor(random_rows([5]))
    with torch.inference_mode():
        assert torch.equal(one(ids, ids), other(ids, ids))


def test_weights_of_another_model_are_refused_and_change_nothing_before() -> None:
    linear = nn.Linear(2, 3)
    weight = linear.weight.detach().clone()
    tensors = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    for given, expected in [
        ({"weight": tensors["weight"]}, "here: tensor 'bias' is missing"),
        ({**tensors, "other": torch.ones(1)}, "here: tensor 'other' is not part of this model"),
        (
            {"bias": torch.zeros(3), "weight": torch.ones(2, 3)},
            r"tensor 'weight' has shape \[2, 3\], this model needs \[3, 2\]",
        ),
    ]:
        with pytest.raises(ModelError, match=expected):
            load_model_tensors(linear, given, "here")
        assert torch.equal(linear.weight, weight)
    load_model_tensors(linear, tensors, "here")
    assert torch.equal(linear.weight, torch.ones(3, 2))


def test_adopted_weights_are_not_copied_but_buffers_and_other_kinds_are() -> None:
    model, tensors = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), dict[str, Tensor]()
    for name, tensor in model_tensors(model).items():
        tensors[name] = torch.full_like(tensor, 3)
    tensors["1.bias"] = tensors["1.bias"].double()
    adopt_model_tensors(model, tensors, "it")
    assert model[0].weight.data_ptr() == tensors["0.weight"].data_ptr()
    assert model[1].running_mean.data_ptr() != tensors["1.running_mean"].data_ptr()
    assert model[1].bias.dtype == torch.float32
    assert all((tensor == 3).all() for tensor in model_tensors(model).values())
    with pytest.raises(ModelError, match=r"^it: tensor '0.weight' has shape \[2, 3\], this model needs \[2, 4\]$"):
        adopt_model_tensors(nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), tensors, "it")
    with pytest.raises(ModelError, match=r"^it: tensor '1.bias' is not part of this model$"):
        adopt_model_tensors(nn.Sequential(nn.Linear(3, 2)), tensors, "it")


def test_the_average_is_the_mean(tmp_path: Path) -> None:
    values = [1.0, 2.0, 6.0]
    for step, value in enumerate(values):
        save_checkpoint(tmp_path / str(step), Checkpoint({"model": {"a": torch.full((2,), value)}}, {"step": step}))
    average = average_checkpoints([tmp_path / str(step) for step in range(3)])
    assert average["a"].tolist() == [3.0, 3.0]
    assert average["a"].dtype == torch.float32


def test_checkpoints_are_in_order_of_steps_and_nothing_else_counts(tmp_path: Path) -> None:
    for name in ("step-00000010", "step-00000002", "step-00000010.tmp", "average-5", "latest"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert [checkpoint.name for checkpoint in checkpoints_of(tmp_path)] == ["step-00000002", "step-00000010"]
    shutil.rmtree(tmp_path / "checkpoints")
    assert checkpoints_of(tmp_path) == []
    assert os.listdir(tmp_path) == []


def test_matching_tensors_are_taken_over_and_the_others_named() -> None:
    model, other = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), nn.Linear(2, 3)
    tensors = {"0.weight": other.weight, "0.bias": other.bias, "7.weight": torch.zeros(1)}
    kept = model[1].weight.clone()
    report = load_matching(model, tensors, "there")
    assert torch.equal(model[0].weight, other.weight)
    assert torch.equal(model[1].weight, kept)
    assert (report.loaded, report.new, report.left) == (
        ["0.bias", "0.weight"],
        ["1.bias", "1.weight"],
        ["7.weight"],
    )
    assert report.line() == "2 tensors loaded; 2 new: 1.bias, 1.weight; 1 left: 7.weight"
    with pytest.raises(ModelError, match=r"^there: tensor '0.weight' has shape \[9\], this model needs \[3, 2\]"):
        load_matching(model, {"0.weight": torch.zeros(9)}, "there")


def test_a_damaged_one_offers_the_newest_before_it_that_is_whole(path: Path) -> None:
    for step in (4, 5, 6):
        save_checkpoint(path.with_name(f"step-{step:08d}"), contents())
    for step in (5, 6):
        (path.with_name(f"step-{step:08d}") / "state.json").unlink()
    for load in (load_checkpoint, verify_checkpoint):
        with pytest.raises(
            ModelError, match=r"step-00000006/state\.json' is missing; the earlier step-00000004 is intact"
        ):
            load(path.with_name("step-00000006"))
    assert set(verify_checkpoint(path)) == {*EVERY_FILE} - {"manifest.json"}


def test_an_unreadable_file_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: Path) -> str:
        raise OSError(5, "Input/output error", str(file))

    monkeypatch.setattr(checkpoint, "_digest", broken)
    with pytest.raises(ModelError, match=r"safetensors' cannot be read: Input/output error"):
        load_checkpoint(path)


def test_a_save_that_was_killed_is_tidied_and_nothing_is_lost(path: Path) -> None:
    """Killed while writing, between the two names of an overwritten one, and while dropping the one before."""
    run = path.parents[1]
    for name, at in (("step-00000009.tmp", path), ("step-00000003.old", path)):
        shutil.copytree(at, path.with_name(name))
    (path.with_name("average-5.tmp")).mkdir()
    shutil.copytree(path, path.with_name("step-00000007.old"))
    tidy(run)
    names = sorted(entry.name for entry in path.parent.iterdir())
    assert names == ["average-5.tmp", "step-00000003", "step-00000007"]
    assert torch.equal(
        load_checkpoint(path.with_name("step-00000007")).tensors["model"]["a"], contents().tensors["model"]["a"]
    )


def test_dropping_takes_the_name_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed there
    drop_checkpoint(path)
    assert checkpoints_of(path.parents[1]) == []
    monkeypatch.undo()
    tidy(path.parents[1])
    assert list(path.parent.iterdir()) == []


def test_sizes_are_told_by_part(path: Path) -> None:
    assert tensor_sizes(path) == {"model": 4 * 5 * 4 + 3 * 4, "optimizer step": 8}
    for broken in (b"", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x08" + bytes(7) + b'{"a": 1}'):
        (path / "model.safetensors").write_bytes(broken)
        with pytest.raises(ModelError, match="its header cannot be read"):
            tensor_sizes(path)


def test_others_may_read_weights_as_far_as_the_umask_says(path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_checkpoint(path, contents())
    finally:
        os.umask(before)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) == 6
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


@pytest.mark.parametrize("ending", [".tmp", ".old", ""])
def test_a_link_where_a_checkpoint_is_made_is_replaced_and_never_followed(ending: str, path: Path) -> None:
    kept = path.parent.parent / "kept"
    kept.mkdir(parents=True)
    (kept / "state.json").write_text("mine")
    shutil.rmtree(path)
    path.with_name(path.name + ending).symlink_to(kept)
    save_checkpoint(path, contents())
    assert load_checkpoint(path).state["step"] == contents().state["step"]
    assert [file.name for file in kept.iterdir()] == ["state.json"]
    assert (kept / "state.json").read_text() == "mine"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def header(content: bytes, length: int | None = None, size: int = 0) -> tuple[bytes, int]:
    return (len(content) if length is None else length).to_bytes(8, "little") + content, size


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"1234567", 0),
        (b"", 0),
        header(b"{}", 3 << 30, size=4 << 30),
        header(b"{}", (1 << 63) + 5),
        header(b"[" * 1000 + b"]" * 1000),
        header(b'{"a": ' * 20_000 + b"1" + b"}" * 20_000),
        header(b'{"a": {"data_offsets": [0, 1e999]}}'),
        header(b'{"a": {"data_offsets": [0, ' + b"9" * 5000 + b"]}}"),
        header(b'{"a": {"data_offsets": [8, 0]}}'),
        header(b'{"a": {"data_offsets": [0, 999999999]}}'),
        header(b'{"a": {"data_offsets": "01"}}'),
        header(b'{"a": {"data_offsets": [0, 1, 2]}}'),
        header(b'{"a": 1}'),
        header(b"\xff\xfe"),
    ],
)
def test_any_header_is_one_line_and_little_memory(content: bytes, size: int, path: Path) -> None:
    save_checkpoint(path, contents())
    file = path / "model.safetensors"
    file.write_bytes(content)
    if size:
        os.truncate(file, size)  # sparse: it takes no disk
    tracemalloc.start()
    with pytest.raises(ModelError, match=r"model\.safetensors' is damaged: its header cannot be read"):
        tensor_sizes(path)
    with pytest.raises(ModelError, match=r"model\.safetensors' has \d+ bytes, its manifest says"):
        verify_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_any_json_is_one_line_and_little_memory(name: str, path: Path) -> None:
    for content, size in ((b"[" * 1000 + b"]" * 1000, 0), (b'{"a":' * 9999, 0), (b"{}", 3 << 30), (b"9" * 5000, 0)):
        save_checkpoint(path, contents())
        (path / name).write_bytes(content)
        if size:
            os.truncate(path / name, size)
        with pytest.raises(ModelError, match=rf"{name}' (is damaged|has \d+ bytes)"):
            load_checkpoint(path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(ModelError, match=rf"{name}' is (damaged: not a file|missing)"):
        load_checkpoint(path)
