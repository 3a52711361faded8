"""``clearhead train``: starts, resumes, is interrupted, refuses; what it leaves and what it says."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from clearhead.cli.train import forecast_of, report, show_encoding, without_checkpoint
from clearhead.config import merge
from clearhead.runs.recipes import load_recipe
from clearhead.training.writers import read_metrics
from clearhead.verbs import trial
from clearhead.verbs.train import open_run
from tests.toy import (
    CLASSIFY,
    PAIRS,
    RECIPE,
    Said,
    assert_one_line,
    clearhead,
    write_recipe,
    write_split,
)

SHORT = ["--set", "train.max_steps=4"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "toy.toml")


def start(capsys: pytest.CaptureFixture[str], recipe: Path, data: Path, *words: object) -> Said:
    return clearhead(capsys, "train", recipe, "--data", data, *words)


def test_a_run_directory_holds_all_that_a_verb_needs(
    recipe: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "run"
    said = start(capsys, recipe, toy_data, "--out", out, *SHORT, "--tensorboard")
    assert (said.code, said.out) == (0, f"{out}\n")
    found = {path.name for path in out.iterdir()}
    assert found == {
        "README.md", "checkpoints", "data-report.json", "loss.png", "metrics.jsonl", "recipe.toml", "tensorboard",
        "tokenizer",
    }  # fmt: skip
    assert [record["step"] for record in read_metrics(out / "metrics.jsonl")] == [0, 1, 2, 3, 4, 4, 4, 4]
    for part in (
        f"{PAIRS} lines read, {PAIRS} kept as {PAIRS} pairs",
        "run directory:",
        "step 4/4  loss",
        "tokens/s",
        "finished",
    ):
        assert part in said.err
    assert str(out) in (out / "README.md").read_text()


@pytest.mark.long
def test_resume_starts_what_has_no_checkpoint_and_goes_on_where_one_is(
    recipe: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for steps, first in ((3, 1), (5, 4)):
        words = ["--out", out, "--resume", "--json", "--set", f"train.max_steps={steps}"]
        said = start(capsys, recipe, toy_data, *words)
        result = json.loads(said.out)
        assert (said.code, result["run"], result["step"], result["reason"]) == (0, str(out), steps, "max_steps")
        assert result["memory"]["peak"] > result["memory"]["parameters"] > 1000
        assert f"step {first - 1}/" not in said.err
    stepped = [record["step"] for record in read_metrics(out / "metrics.jsonl") if record["event"] == "stepped"]
    assert stepped == [1, 2, 3, 4, 5]
    shutil.rmtree(out / "checkpoints")
    said = start(capsys, recipe, toy_data, "--out", out, "--resume", *SHORT)
    assert said.code == 0
    stepped = [record["step"] for record in read_metrics(out / "metrics.jsonl") if record["event"] == "stepped"]
    assert stepped == [1, 2, 3, 4]


@pytest.mark.long
def test_a_run_of_which_only_the_recipe_was_written_is_started(
    recipe: Path, toy_data: Path, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process can be killed between the first file of a run and the second."""
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(toy_run / "recipe.toml", out)
    assert start(capsys, recipe, toy_data, "--out", out, "--resume", *SHORT).code == 0


@pytest.mark.long
def test_resume_refuses_another_recipe_and_takes_the_same(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree: dict[str, Any] = merge(RECIPE, {"optim": {"betas": [0.8, 0.9]}, "train": {"max_steps": 2}})
    recipe, out = write_recipe(tmp_path / "toy.toml", tree), tmp_path / "run"
    assert start(capsys, recipe, toy_data, "--out", out).code == 0
    said = start(capsys, recipe, toy_data, "--out", out, "--resume", "--set", "train.lr=0.5", "--set", "model.d_ff=8")
    assert_one_line(said, 2, "--resume: model.d_ff, train.lr differs", "only train.max_steps, train.max_minutes")
    said = start(capsys, recipe, toy_data, "--out", out, "--resume", "--set", "train.max_steps=3")
    assert said.code == 0, said


def test_what_exists_is_never_overwritten(
    recipe: Path, toy_data: Path, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in toy_run.rglob("*"))
    assert_one_line(start(capsys, recipe, toy_data, "--out", toy_run), 2, "exists: add --resume")
    assert sorted((path, path.stat().st_mtime_ns) for path in toy_run.rglob("*")) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    for extra in ([], ["--resume"]):
        said = start(capsys, recipe, toy_data, "--out", tmp_path / "other", *extra)
        assert_one_line(said, 2, "is taken by something else")
    assert_one_line(start(capsys, recipe, toy_data, "--resume"), 2, "name the run with --out")


def test_a_dry_run_writes_no_run(
    recipe: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    said = start(capsys, recipe, toy_data, "--dry-run", "--json")
    tree = json.loads(said.out)
    assert (said.code, list(folder.iterdir())) == (0, [])
    assert tree["parameters"] > 1000
    assert tree["seconds_per_step"] > 0
    assert tree["memory"]["peak"] > tree["memory"]["parameters"] == 4 * tree["parameters"]
    assert tree["data"]["pairs"] == PAIRS
    assert tree["recipe"]["model"]["d_model"] == 64
    assert (tree["not_exported_to"]["hf"], "encoder-decoder" in tree["not_exported_to"]["gguf"]) == (None, True)
    plain = start(capsys, recipe, toy_data, "--dry-run")
    assert "[model]" in plain.out
    assert "learning rate over the run:" in plain.err
    assert "\ncan be exported to: hf, onnx, ctranslate2, file\nnot to gguf: " in plain.err
    assert list(folder.iterdir()) == []
    words = ["--resume", "--checkpoint", "best", "--allow-change", "data", "--compare-scratch", "--tensorboard"]
    left = "leave out --resume, --allow-change, --compare-scratch, --tensorboard, --checkpoint"
    assert_one_line(start(capsys, recipe, toy_data, "--dry-run", *words), 2, f"writes no run; {left}")


def test_the_forecast_is_made_before_any_step(
    recipe: Path, toy_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("forecast", "try_steps"):
        real = getattr(trial, name)
        monkeypatch.setattr(trial, name, lambda job, name=name, real=real: (done.append(name), real(job))[1])
    start(capsys, recipe, toy_data, "--dry-run")
    assert done == ["forecast", "try_steps"]


def broken(folder: Path, data: Path, case: str) -> Path:
    shutil.copytree(data, folder)
    match case:
        case "missing":
            (folder / "train.en").rename(folder / "trian.en")
        case "empty":
            (folder / "train.en").write_text("")
        case "blank":
            write_split(folder, "train", [("", "")] * 3)
        case "unequal":
            with (folder / "train.en").open("a", encoding="utf-8") as file:
                file.write("one more\n")
        case "not utf-8":
            content = (folder / "valid.zh").read_bytes().split(b"\n")
            content[2] = b"\xe6\x88"
            (folder / "valid.zh").write_bytes(b"\n".join(content))
    return folder


@pytest.mark.parametrize(
    ("case", "parts"),
    [
        ("missing", ["train.en: no such file, nor with .gz; did you mean 'trian.en'?"]),
        ("empty", ["train.en is empty"]),
        ("blank", []),
        ("unequal", [f"train.zh has {PAIRS} lines but ", f"train.en has {PAIRS + 1}"]),
        ("not utf-8", ["valid.zh line 3: not UTF-8"]),
    ],
)
def test_text_that_cannot_be_used(
    case: str, parts: list[str], recipe: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = broken(tmp_path / "data", toy_data, case)
    assert_one_line(start(capsys, recipe, data, "--out", tmp_path / "run"), 3, *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("model.d_modle=4", ["unknown key 'model.d_modle'; did you mean 'd_model'?"]),
        ("trian.max_steps=4", ["unknown key 'trian'; did you mean 'train'?"]),
        ("train.max_steps=0", ["train.max_steps = 0: leaves the length of the run to train.max_minutes; set that"]),
        ("optim.schedule=cosin", ["optim.schedule = 'cosin': must be one of", "did you mean 'cosine'?"]),
        ("model.n_heads=5", ["model.n_heads = 5: must divide model.d_model = 64"]),
        ("data.max_len=64", ["data.max_len = 64: must be below model.max_seq_len = 64"]),
        ("tokenizer.joint=false", ["model.tie = 'all': needs tokenizer.joint = true"]),
        ("train.batch_tokens=5", ["batch_tokens = 5"]),
        ("train.device=cuda:77", ["device 'cuda:77'"]),
        ("src=", ["the languages are not set; add --src zh --tgt en"]),
        ("model", ["--set 'model': expected key=value"]),
    ],
)
def test_recipes_that_cannot_be_used(
    change: str, parts: list[str], recipe: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = start(capsys, recipe, toy_data, "--out", tmp_path / "run", "--set", change)
    assert_one_line(said, 2, *parts)
    assert not (tmp_path / "run").exists()


def test_names_that_are_nothing(
    toy_data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "train", "translate-tyni", "--data", toy_data)
    assert_one_line(said, 2, "neither a file nor a preset; did you mean 'translate-tiny'?")
    assert_one_line(start(capsys, recipe, tmp_path / "nowhere"), 3, "does not exist or is not a folder")
    (tmp_path / "file").write_text("")
    said = start(capsys, recipe, toy_data, "--out", tmp_path / "file" / "run", *SHORT)
    assert_one_line(said, 3, "run directory", "cannot be made: Not a directory")
    assert_one_line(start(capsys, recipe, toy_data, "--src", "en"), 3, "both 'en'")


def test_a_damaged_checkpoint_stops_a_resume(
    recipe: Path, toy_data: Path, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    file = run / "checkpoints" / "step-00000120" / "optimizer.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    assert_one_line(start(capsys, recipe, toy_data, "--out", run, "--resume"), 4, f"{file}", "its manifest says")


def test_the_command_that_goes_on_goes_on_from_the_latest() -> None:
    for words in (["--resume", "--checkpoint", "step-1"], ["--checkpoint=step-1", "--resume"], []):
        assert without_checkpoint(["train", *words, "--out", "x"]) == ["train", "--out", "x"]


@pytest.mark.long
def test_going_back_to_an_older_checkpoint(
    recipe: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    steps = ["--set", "train.checkpoint_every=2", "--set", "train.max_steps=4"]
    assert start(capsys, recipe, toy_data, "--out", out, *steps).code == 0
    (out / "checkpoints" / "step-00000004" / "model.safetensors").unlink()
    said = start(capsys, recipe, toy_data, "--out", out, *steps, "--resume")
    assert_one_line(
        said, 4, "model.safetensors' is missing; the earlier step-00000002 is intact: choose it with --checkpoint"
    )
    more = ["--checkpoint", "step-00000002", "--set", "train.lr=0.1", "--allow-change", "train.lr"]
    said = start(capsys, recipe, toy_data, "--out", out, *steps, "--resume", *more)
    assert said.code == 0, said
    assert "recipe: train.lr = 0.1, was 0.005" in said.err
    assert_one_line(start(capsys, recipe, toy_data, "--checkpoint", "step-00000002"), 2, "add --resume")


def test_the_report_says_what_was_read_and_built(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "toy.toml")
    changes = ["tokenizer.joint=false", "model.tie=decoder"]
    with open_run(recipe, toy_data, tmp_path / "run", overrides=changes) as begun:
        report(begun.job, forecast_of(begun.job))
        assert [path.name for path in begun.path.iterdir()] == ["lock"]
    prepared = begun.job
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{PAIRS} lines read, {PAIRS} kept as {PAIRS} pairs" in said.err
    pieces = prepared.parts.both.src.vocab_size, prepared.parts.both.tgt.vocab_size
    count = sum(parameter.numel() for parameter in prepared.state.model.parameters())
    assert f"model: {count:,} parameters, {pieces[0]} + {pieces[1]} pieces, on cpu" in said.err
    assert "\nmemory forecast: parameters " in said.err
    assert list(begun.path.iterdir()) == []


def test_encoding_is_told_of_a_large_corpus_only(capsys: pytest.CaptureFixture[str]) -> None:
    show_encoding(5, 200_000)
    show_encoding(20_000, 300_000)
    assert capsys.readouterr().err == "encoded 7% of the text\n"


def several(capsys: pytest.CaptureFixture[str], data: Path, folder: Path, *words: object) -> Said:
    recipe = write_recipe(folder / "classify.toml", CLASSIFY)
    steps = ["--set", "train.max_steps=2", "--out", folder / "runs"]
    return clearhead(capsys, "train", recipe, "--data", data, *steps, *words)


@pytest.mark.long
def test_seeds_and_a_comparison_with_no_pretraining(
    toy_classifier: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", toy_classifier, "--seeds", 2, "--compare-scratch"]
    said = several(capsys, labelled, tmp_path, *words)
    assert said.code == 0, said.err
    names = ["seed-0", "seed-1", "scratch-seed-0", "scratch-seed-1"]
    assert said.err.count("memory forecast:") == 1, "the process keeps what the first run freed"
    lines = said.out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == names
    assert lines[4].startswith("2 runs: loss ")
    assert lines[5].startswith("2 runs from scratch: loss ")
    assert lines[6].startswith("gain: loss ")
    assert lines[7] == str(tmp_path / "runs")
    tree = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert tree["gain"]["accuracy"]["mean"] > 0.2, "two steps teach nothing, pretraining has"
    again = several(capsys, labelled, tmp_path, *words, "--resume", "--json")
    assert json.loads(again.out) == tree
    assert "step 1/" not in again.err
    shutil.rmtree(tmp_path / "runs" / "seed-1")
    assert json.loads(several(capsys, labelled, tmp_path, *words, "--resume", "--json").out) == tree
    assert_one_line(several(capsys, labelled, tmp_path, *words), 2, "holds several runs: add --resume")


def test_translators_of_several_seeds(toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", toy_data, "--seeds", 2, "--set", "train.max_steps=2", "--out", tmp_path / "runs", "--json"]
    said = clearhead(capsys, "train", write_recipe(tmp_path / "recipe.toml"), *words)
    assert said.code == 0, said.err
    tree = json.loads(said.out)
    losses = [scores["loss"] for scores in tree["runs"].values()]
    assert len(set(losses)) == 2, "another seed is another model"
    assert tree["scores"]["loss"]["mean"] == pytest.approx(sum(losses) / 2)
    assert tree["scores"]["loss"]["deviation"] > 0


def test_an_adapted_translator_of_several_seeds_has_its_languages_from_the_start(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", toy_data, "--seeds", 2, "--set", "train.max_steps=1", "--out", tmp_path / "runs", "--json"]
    said = clearhead(capsys, "train", "translate-adapt", "--from", toy_run, *words)
    assert said.code == 0, said.err
    tree = json.loads(said.out)
    assert load_recipe(tmp_path / "runs" / "seed-0")["tgt"] == "en"
    for more in ([], ["--resume"]):  # as if it were one run
        one = clearhead(capsys, "train", "demo", "--data", toy_data, "--out", tmp_path / "runs", *more)
        assert_one_line(one, 2, "holds several runs: add --resume to go on with them, with --seeds or --folds")
    shutil.rmtree(tmp_path / "runs" / "seed-1")
    again = clearhead(capsys, "train", "translate-adapt", *words, "--resume")
    assert json.loads(again.out) == tree, "the start of the runs that are there is that of those that are missing"


@pytest.mark.long
def test_folds_hold_out_every_line_once(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = several(capsys, labelled, tmp_path, "--folds", 3, "--json")
    assert set(json.loads(said.out)["runs"]) == {f"fold-{fold}-seed-0" for fold in range(3)}
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs").glob("*/data-report.json"))]
    assert [(report["train"]["rows"], report["valid"]["rows"]) for report in reports] == [(80, 40)] * 3


def test_what_cannot_be_repeated(
    labelled: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(several(capsys, labelled, tmp_path, "--compare-scratch"), 2, "nothing to compare with")
    said = clearhead(capsys, "train", "demo", "--data", toy_data, "--folds", 2)
    assert_one_line(said, 2, "--folds, --compare-scratch: are for the task classify, not 'translation'")
    for words in (["--tensorboard"], ["--allow-change", "data"], ["--checkpoint", "best"]):
        assert_one_line(
            several(capsys, labelled, tmp_path, "--seeds", 2, *words), 2, "are for one run, not for several"
        )
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_a_run_that_began_elsewhere_goes_on_by_the_same_recipe(
    toy_classifier: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes and tokenizer are those of the trained model, and a recipe that says others is refused."""
    other = merge(CLASSIFY, {"model": {"d_model": 64}, "tokenizer": {"vocab_size": 99}, "start": str(toy_classifier)})
    recipe, out = write_recipe(tmp_path / "tuned.toml", other), tmp_path / "run"
    words = ["train", recipe, "--data", labelled, "--out", out]
    refused = (
        f"model.d_model = 64, tokenizer.vocab_size = 99: start {str(toy_classifier)!r} has 16, 200, and its weights"
    )
    assert_one_line(clearhead(capsys, *words), 2, refused)
    write_recipe(recipe, {key: value for key, value in other.items() if key not in ("model", "tokenizer")})
    assert clearhead(capsys, *words, "--set", "train.max_steps=2").code == 0
    said = clearhead(capsys, *words, "--resume", "--set", "train.max_steps=3", "--json")
    assert json.loads(said.out)["step"] == 3
    said = clearhead(capsys, *words, "--resume", "--set", "model.dropout=0.3")
    assert_one_line(said, 2, "--resume: model.dropout differs from the run's recipe")
