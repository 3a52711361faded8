"""``clearhead inspect`` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from clearhead.cli.inspect import LINES
from clearhead.manifest import checkpoints_of
from clearhead.verbs.look.views import VIEWS
from tests.foreign import write_gpt2
from tests.toy import assert_one_line, clearhead


def test_every_view_has_its_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert LINES.keys() == VIEWS.keys()
    said = clearhead(capsys, "inspect", "--help")
    assert all(f"\n  {what} " in said.out for what in LINES)


def test_text_and_json_say_the_same(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = clearhead(capsys, "inspect", toy_lm_run, "model")
    tree = json.loads(clearhead(capsys, "inspect", toy_lm_run, "model", "--json").out)
    assert f"{tree['parameters']:,} parameters" in text.out
    assert max(map(len, text.out.splitlines())) <= 80


def test_files(toy_lm_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, picture = tmp_path / "a.html", tmp_path / "a.png"
    said = clearhead(capsys, "inspect", toy_lm_run, "model", "--html", page, "--png", picture)
    assert (said.code, said.out) == (0, f"{page}\n{picture}\n")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_seen(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "inspect", toy_lm_run, "modle")
    assert_one_line(said, 2, "view 'modle': unknown; did you mean 'model'?")
    for what, advice in (("model", "leave it out to look at random pieces"), ("beam", "give one")):
        for text in ("", "  "):
            said = clearhead(capsys, "inspect", toy_lm_run, what, text)
            assert_one_line(said, 3, f"view {what!r}: the text is empty; {advice}")
    said = clearhead(capsys, "inspect", toy_lm_run, "model", "apple", "--batch", "2x8")
    assert_one_line(said, 2, "--batch '2x8': is for random pieces, and there is a TEXT")
    said = clearhead(capsys, "inspect", toy_lm_run, "model", "--device", "cuda:9")
    assert_one_line(said, 2, "device 'cuda:9': not usable here")


def test_choices_belong_to_their_views(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--attention", "decoder", "--layer", "0", "--head", "-1", "--query", "1")
    view = json.loads(clearhead(capsys, "inspect", toy_lm_run, "query", "apple pie", *options, "--json").out)
    assert (view["name"], view["query"]) == ("layers.0.attn", 1)
    assert view["mask"][2] is None, "minus infinity is no number of JSON"
    text = clearhead(capsys, "inspect", toy_lm_run, "query", "apple pie", *options)
    assert text.out.startswith(f"query 1 {view['asks']!r} of head {view['head']} in layers.0.attn\n")
    beside = json.loads(clearhead(capsys, "inspect", toy_lm_run, "parts", "--beside", toy_lm_run, "--json").out)
    assert len(beside["runs"]) == 1
    for what, option, value, rest in (
        ("model", "--head", "0", "is for query and jacobian"),
        ("query", "--beside", "x", "is for parts"),
        ("parts", "--module", "x", "is for hooks"),
    ):
        said = clearhead(capsys, "inspect", toy_lm_run, what, option, value)
        assert_one_line(said, 2, f"{option}: {rest}, not for the view {what!r}")
    said = clearhead(capsys, "inspect", toy_lm_run, "hooks", "--module", "lm_haed")
    assert_one_line(said, 2, "module 'lm_haed': a GPT has none of this name; did you mean 'lm_head'?")
    assert_one_line(
        clearhead(capsys, "inspect", toy_lm_run, "parts", "--beside", "no"), 4, "run 'no': no such directory"
    )


def test_a_run_lists_its_own_files_and_each_checkpoint(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = json.loads(clearhead(capsys, "inspect", toy_lm_run, "checkpoint", "--json").out)
    run, *checkpoints = view["forms"]
    assert [one["form"] for one in checkpoints] == ["full checkpoint"] * len(checkpoints_of(toy_lm_run))
    assert [one["path"] for one in checkpoints] == [str(path) for path in checkpoints_of(toy_lm_run)]
    own = {"recipe.toml", "tokenizer/text.json", "metrics.jsonl", "data-report.json", "README.md"}
    names = {file["name"] for file in run["files"]}
    assert own <= names
    assert not any(name.startswith("checkpoints/") for name in names)
    for one in checkpoints:
        holds = {file["name"]: file for file in one["files"]}
        assert holds["model.safetensors"]["tensors"] == len(load_file(Path(one["path"]) / "model.safetensors"))
        assert {"optimizer.safetensors", "state.json", "recipe.toml", "tokenizer/text.json"} <= holds.keys()


def test_saved_forms_that_are_no_run(toy_lm_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first, *_) = checkpoints_of(toy_lm_run)
    bare, old = (shutil.copytree(first, tmp_path / name) for name in ("bare", "old"))
    (old / "recipe.toml").unlink()  # as in checkpoints of format 1
    write_gpt2(tmp_path / "exported")
    for folder, form in ((bare, "full checkpoint"), (old, "full checkpoint"), (tmp_path / "exported", "exported")):
        found = json.loads(clearhead(capsys, "inspect", folder, "checkpoint", "--json").out)["forms"]
        assert [one["form"] for one in found] == [form]
        (weights,) = [file for file in found[0]["files"] if file["name"] == "model.safetensors"]
        assert weights["tensors"] == len(load_file(folder / "model.safetensors"))
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {file["name"] for file in found[0]["files"]} == files
    assert_one_line(clearhead(capsys, "inspect", tmp_path / "none", "checkpoint"), 4, "no such directory")
    assert_one_line(clearhead(capsys, "inspect", tmp_path / "exported", "model"), 4, "exported")
