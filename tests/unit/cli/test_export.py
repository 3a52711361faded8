"""``clearhead export``: a folder for another library, or one line that says why not."""

from pathlib import Path

import pytest

from clearhead.verbs.exchange import import_run
from tests.foreign import write_gpt2
from tests.toy import assert_one_line, clearhead


def test_a_run_becomes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = import_run(write_gpt2(tmp_path / "theirs"), tmp_path / "run")
    said = clearhead(capsys, "export", run, "--to", "hf", "--out", tmp_path / "out")
    assert (said.code, said.out) == (0, f"{tmp_path / 'out'}\n")
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert_one_line(clearhead(capsys, "export", run, "--to", "hf", "--out", tmp_path / "out"), 2, "is taken")


def test_what_cannot_be_written(toy_run: Path, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = toy_run.parent / "exported"
    assert_one_line(clearhead(capsys, "export", toy_run, "--to", "hf", "--out", out), 4, "must be 'post'")
    assert_one_line(clearhead(capsys, "export", toy_lm_run, "--to", "hf", "--out", out), 4, "must be 'rms'")
    assert_one_line(clearhead(capsys, "export", toy_lm_run, "--to", "tf", "--out", out), 2, "tf")
    assert not out.exists()
