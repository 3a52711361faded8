"""``clearhead import``: a run from a folder, and one line for what is none."""

import json
from pathlib import Path

import pytest

from tests.foreign import write_bert, write_gpt2
from tests.toy import assert_one_line, clearhead


def test_a_folder_becomes_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run = write_gpt2(tmp_path / "theirs"), tmp_path / "run"
    said = clearhead(capsys, "import", folder, "--out", run)
    assert (said.code, said.out) == (0, f"{run}\n")
    assert "decoder-only Transformer, 2 layers, d_model 32, context 64, 300 pieces" in said.err
    assert "29 tensors loaded" in said.err
    assert "clearhead generate" in (run / "README.md").read_text()
    said = clearhead(capsys, "generate", run, "an apple", "--max-new", 3)
    assert said.code == 0
    assert said.out.startswith("an apple")
    assert_one_line(clearhead(capsys, "import", folder, "--out", run), 2, "exists")
    said = clearhead(capsys, "import", folder, "--out", tmp_path / "other", "--json")
    assert json.loads(said.out) == {"run": str(tmp_path / "other"), "loaded": 29, "left": [], "new": []}


def test_a_bert_says_which_heads_are_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run = write_bert(tmp_path / "theirs", "BertModel"), tmp_path / "run"
    said = clearhead(capsys, "import", folder, "--out", run)
    assert (said.code, said.out) == (0, f"{run}\n")
    assert "encoder-only Transformer, 2 layers, d_model 32, rows of 40, 120 pieces" in said.err
    assert "7 new, which are to be trained: cls.predictions.transform.dense.weight" in said.err
    card = (run / "README.md").read_text()
    assert f'clearhead fill {run} "... [MASK] ..."' in card
    assert f"clearhead train bert-further --from {run}" in card
    assert clearhead(capsys, "fill", run, "an [MASK]", "--top-k", 1).code == 0
    tree = json.loads(clearhead(capsys, "import", folder, "--out", tmp_path / "other", "--json").out)
    assert len(tree["new"]) == 7


def test_what_is_no_folder_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(clearhead(capsys, "import", tmp_path / "absent"), 4, "no such directory")
    assert_one_line(clearhead(capsys, "import", tmp_path), 4, "it has no config.json")
    folder = write_gpt2(tmp_path / "theirs")
    (folder / "model.safetensors").unlink()
    assert_one_line(clearhead(capsys, "import", folder), 4, "has no weights: model.safetensors or pytorch_model.bin")
