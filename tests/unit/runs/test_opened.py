"""One way to open a run: files that are read are checked once, files that are not read are left alone."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch

import clearhead
from clearhead.errors import ModelError
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_both_sides
from clearhead.tasks.translation.recipe import build_translator, parse_translation

RUNS = ("toy_run", "toy_lm_run", "toy_masked_run", "toy_classifier")


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose digests are computed."""
    names: list[str] = []
    real: Callable[..., Any] = hashlib.file_digest

    def noted(file: IO[bytes], kind: str) -> Any:
        names.append(Path(file.name).name)
        return real(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return names


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("name", RUNS)
def test_what_a_load_reads_is_digested_once_and_nothing_else(
    name: str, digested: list[str], request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(name)
    averaged = (SavedRun.open(run).checkpoint / "ema.safetensors").exists()
    digested.clear()
    clearhead.load(run, device="cpu")
    assert sorted(digested) == sorted(["state.json", "ema.safetensors" if averaged else "model.safetensors"])


def test_damage_is_seen_in_what_is_read_alone(toy_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(toy_run, tmp_path / "run")
    checkpoint = SavedRun.open(run).checkpoint
    (checkpoint / "optimizer.safetensors").write_bytes(b"damage")
    clearhead.load(run, device="cpu")
    weights = bytearray((checkpoint / "ema.safetensors").read_bytes())
    weights[-1] ^= 1
    (checkpoint / "ema.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match=r"ema\.safetensors' does not match the checksum in its manifest"):
        clearhead.load(run, device="cpu")


@pytest.mark.parametrize("name", [*RUNS, "toy_baselines"])
def test_damage_of_the_runs_own_tokenizer_or_labels_is_seen(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A flipped bit in a tokenizer gives other text and no error; every family must see it."""
    made = request.getfixturevalue(name)
    run = shutil.copytree(made["ngram"] if name == "toy_baselines" else made, tmp_path / "run")
    for file in [*sorted((run / "tokenizer").glob("*.json")), *run.glob("labels.json")]:
        whole = file.read_bytes()
        content = bytearray(whole)
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(ModelError, match=rf"{file.name}' does not match the checksum in '.*recipe\.toml': damaged"):
            clearhead.load(run, device="cpu")
        file.write_bytes(whole)
    clearhead.load(run, device="cpu")


def test_the_average_is_taken_where_one_is_kept(toy_run: Path) -> None:
    run = SavedRun.open(toy_run, checkpoint="latest")
    recipe, parts = parse_translation(run.tree, run.source), load_both_sides(run.path)
    model = build_translator(recipe, parts.sizes)
    assert run.load_into(model) == 120
    average, plain = run.saved("ema").tensors["ema"], run.saved("model").tensors["model"]
    name = "encoder.embedding.tokens.weight"
    assert torch.equal(model.state_dict()[name], average[name])
    assert not torch.equal(average[name], plain[name])
    assert run.tensors().keys() == average.keys()


def test_a_run_without_a_checkpoint_says_so(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes((toy_run / "recipe.toml").read_bytes())
    run = SavedRun.open(tmp_path)
    assert (run.task, run.source) == ("translation", f"recipe of run {str(tmp_path)!r}")
    with pytest.raises(ModelError, match="has no checkpoint yet: train it, or go on with --resume"):
        _ = run.checkpoint
    with pytest.raises(ModelError, match="no such directory"):
        SavedRun.open(tmp_path / "nowhere")
