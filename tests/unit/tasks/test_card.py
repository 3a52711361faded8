"""The model card says what a run is, and its commands work as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from clearhead.tasks.pipeline import load
from tests.toy import PAIRS, clearhead


def test_the_card_tells_languages_sizes_data_and_scores(toy_run: Path) -> None:
    card = (toy_run / "README.md").read_text(encoding="utf-8")
    count = sum(parameter.numel() for parameter in load(toy_run).model.parameters())
    for part in (
        "# run\n",
        "from `zh` to `en`",
        f"1 + 2 layers, d_model 64, {count:,} parameters",
        "byte_bpe, 400 source and 400 target pieces",
        "| trained | 120 steps",
        f"{PAIRS} lines read, {PAIRS} kept as {PAIRS} pairs",
    ):
        assert part in card
    assert re.search(r"\| valid \| loss \d\.\d{3} \|", card)


def test_its_commands_run(toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (toy_run / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    clearhead (.*)$", card, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = [str(toy_data) if word == "DIR" else word.replace("...", "我") for word in shlex.split(command)]
        assert clearhead(capsys, *words).code == 0, command
