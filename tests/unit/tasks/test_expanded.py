"""A file of float32 weights is as good as its run: every verb that takes the run takes it, and says the same."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.engine.weights.file import open_model, write_model
from clearhead.errors import ModelError
from clearhead.runs import packed
from clearhead.tasks.catalog import family_of_run
from clearhead.tasks.expanded import REST, open_run, run_directory
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.look.views import view_of
from clearhead.verbs.train import train
from tests.native import NATIVE
from tests.toy import assert_one_line, clearhead

pytestmark = NATIVE
RUNS = ("toy_run", "toy_lm_run", "toy_masked_run", "toy_classifier", "toy_pair_classifier")


def exported(run: Path, folder: Path, quantize: str = "float32") -> Path:
    return export_run(
        run, folder / f"sent-{quantize}.clearhead", target="file", quantize=quantize, certify=Certify(lines=0)
    )


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", RUNS)
def test_the_run_of_a_file_is_the_run_that_it_was_made_of(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, own_cache: Path
) -> None:
    run = request.getfixturevalue(name)
    file = exported(run, tmp_path)
    before, after = open_run(run), open_run(file)
    assert after.path.parent == own_cache / "expanded"
    assert after.tree == before.tree
    family = family_of_run(before)
    one, other = family.load(before, device="cpu"), family.load(after, device="cpu")
    theirs = other.model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in one.model.state_dict().items())
    assert one.step == other.step
    assert one.packing is not None
    assert other.packing is not None
    assert {**one.packing.about, "recipe": 0} == {**other.packing.about, "recipe": 0}
    assert one.packing.files == other.packing.files
    assert (REST in open_model(file).files) == (name == "toy_masked_run")
    assert run_directory(run) == run


def test_a_file_becomes_a_run_once(toy_run: Path, tmp_path: Path, own_cache: Path) -> None:
    file = exported(toy_run, tmp_path)
    place = run_directory(file)
    inode = (place / "recipe.toml").stat().st_ino
    assert run_directory(file) == place
    assert (place / "recipe.toml").stat().st_ino == inode
    assert [path.name for path in (own_cache / "expanded").iterdir()] == [place.name]


def test_the_least_used_go_where_there_are_too_many(
    toy_run: Path, toy_lm_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lm").mkdir()
    files = exported(toy_run, tmp_path), exported(toy_lm_run, tmp_path / "lm")
    first = run_directory(files[0])
    os.utime(first, (1, 1))
    monkeypatch.setattr("clearhead.tasks.expanded.MOST", 1)
    second = run_directory(files[1])
    assert not first.exists()
    assert second.is_dir()
    assert packed.unused_longest([second], 1 << 30) == []


def test_where_the_cache_cannot_be_written_a_temporary_folder_does(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported(toy_run, tmp_path)
    (tmp_path / "plain").write_text("no folder")
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "plain"))
    assert Translator.load(file, device="cpu").step == Translator.load(toy_run, device="cpu").step


def test_verbs_say_of_a_file_what_they_say_of_its_run(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported(toy_run, tmp_path)

    for words in (
        ("evaluate", "RUN", "--data", toy_data, "--split", "valid", "--beam", 1),
        ("trace", "RUN", "我吃了一个苹果。", "--device", "cpu"),
        ("translate", "RUN", "我吃了一个苹果。", "--alternatives"),
        ("translate", "RUN", "我吃了一个苹果。", "--engine", "torch"),
        ("inspect", "RUN", "rank", "我吃了一个苹果。"),
    ):
        answers = [clearhead(capsys, *(run if word == "RUN" else word for word in words)) for run in (toy_run, file)]
        assert [answer.code for answer in answers] == [0, 0], answers[1]
        lines = [[line for line in answer.out.splitlines() if not line.startswith("speed")] for answer in answers]
        assert lines[0] == lines[1]
        assert len(lines[0]) > 0
    compared = clearhead(capsys, "compare", toy_run, file, "--data", toy_data, "--split", "valid", "--beam", 1)
    assert compared.code == 0
    assert clearhead(capsys, "checkpoints", file, "--verify").code == 0
    assert view_of("checkpoint", file, checkpoint="best", device="cpu")


@pytest.mark.unchecked
def test_a_file_goes_to_other_formats_and_training_may_begin_with_it(toy_lm_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: the other format")
    file = exported(toy_lm_run, tmp_path)
    folders = [
        export_run(each, tmp_path / name, target="onnx", certify=Certify(lines=0))
        for each, name in ((toy_lm_run, "a"), (file, "b"))
    ]
    for path in sorted(folders[0].glob("*.onnx*")):
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()
    small = exported(file, tmp_path, "int8")
    assert open_model(small).weights == "int8"
    overrides = ["task=language_model", f"start={file}", "train.max_steps=1", "train.device=cpu", "train.lr=1e-3"]
    recipe = tmp_path / "next.toml"
    recipe.write_text('name = "next"\n[data]\nseparator = "line"\n[train]\nbatch_tokens = 200\nwarmup_steps = 1\n')
    result = train(recipe, data=toy_lm_run.parent / "data", out=tmp_path / "next", overrides=overrides)
    assert open_run(result.run).saved().state["step"] == 1


def test_what_no_run_can_be_made_of_is_said_in_one_line(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = exported(toy_run, tmp_path, "int8")
    said = clearhead(capsys, "evaluate", small, "--data", toy_data)
    assert_one_line(said, 4, f"{str(small)!r} holds int8 weights", "--quantize float32")
    with pytest.raises(ModelError, match="holds int8 weights"):
        Translator.load(small)
    for verb in (["average", small], ["replay", small]):
        assert_one_line(clearhead(capsys, *verb), 4, "is a file, and this takes a run directory")
    file = open_model(exported(toy_run, tmp_path))
    about: dict[str, Any] = dict(file.about)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"origin": "0"}, "its weights are not those that it was made of"),
        ({"recipe": {**about["recipe"], "task": "ngram"}}, ""),
        ({"recipe": {**about["recipe"], "model": {**about["recipe"]["model"], "d_ff": 256}}}, "is damaged: it has "),
        ({"step": "many"}, "is damaged"),
    ]
    for number, (change, match) in enumerate(changes):
        other = tmp_path / f"{number}.clearhead"
        write_model(other, file.image, {**about, **change}, file.files)
        with pytest.raises(ModelError, match=match or "ngram"):
            run_directory(other)
    del about["origin"]
    write_model(tmp_path / "old.clearhead", file.image, about, file.files)
    with pytest.raises(ModelError, match="holds packed weights alone: export it again"):
        run_directory(tmp_path / "old.clearhead")
    damaged = tmp_path / "damaged.clearhead"
    shutil.copyfile(file.path, damaged)
    damaged.write_bytes(damaged.read_bytes()[:-64])
    with pytest.raises(ModelError, match="is damaged: it is cut short"):
        run_directory(damaged)
