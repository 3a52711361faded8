"""What ``train`` and ``demo`` share: the report on stderr before the first step."""

from pathlib import Path

import pytest

from clearhead.cli import training
from clearhead.tasks.training import begin
from tests.toy import PAIRS, write_recipe


def test_the_report_says_what_was_read_and_built(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "toy.toml")
    changes = ["tokenizer.joint=false", "model.tie=decoder"]
    prepared, run = begin(recipe, toy_data, tmp_path / "run", overrides=changes)
    training.report(prepared)
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{PAIRS} lines read, {PAIRS} kept as {PAIRS} pairs" in said.err
    pieces = prepared.tokenizers.src.vocab_size, prepared.tokenizers.tgt.vocab_size
    count = sum(parameter.numel() for parameter in prepared.state.model.parameters())
    assert f"model: {count:,} parameters, {pieces[0]} + {pieces[1]} pieces, on cpu" in said.err
    assert list(run.iterdir()) == []


def test_encoding_is_told_of_a_large_corpus_only(capsys: pytest.CaptureFixture[str]) -> None:
    training._encoding(5, 200_000)
    training._encoding(20_000, 300_000)
    assert capsys.readouterr().err == "encoded 7% of the text\n"
