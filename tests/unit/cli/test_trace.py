"""``clearhead trace``: the whole way of one sentence, as JSON and as tables."""

import json
from pathlib import Path

import pytest

from tests.toy import assert_one_line, clearhead


@pytest.fixture
def line(toy_data: Path) -> str:
    return (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[0]


def test_json_holds_every_step(toy_run: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "trace", toy_run, line, "--json", "--top", "3")
    tree = json.loads(said.out)
    assert said.code == 0
    assert tree["text"] == line
    assert (tree["source"][0]["piece"], tree["source"][-1]) == (line[0], {"id": 2, "piece": "</s>"})
    count = len(tree["source"])
    assert tree["shapes"] == {
        "embedding": [1, count, 64], "encoder layer 1": [1, count, 64], "memory": [1, count, 64],
        "cross-attention keys": [1, 2, count, 16],
    }  # fmt: skip
    chosen = [step["chosen"]["piece"] for step in tree["steps"]]
    for number, step in enumerate(tree["steps"]):
        assert step["input"] == ["<s>", *chosen[:number]]
        values = [one["probability"] for one in step["top"]]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert step["bytes_read"] == 2 * 2 * 2 * 16 * 4 * (number + 1 + count)
    assert chosen[-1] == "</s>"
    translation = clearhead(capsys, "translate", toy_run, line, "--beam", "1").out.strip()
    assert tree["translation"] == translation == "".join(chosen[:-1]).replace("▁", " ").strip()


def test_tables_show_text_as_it_is(
    toy_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    said = clearhead(capsys, "trace", toy_run, "我[red]吃[/red]")
    assert said.code == 0
    assert "我[red]吃[/red] -> " in said.out, "brackets are text, not colours"
    for part in ("1. text to pieces to ids", "2. encoder", "3. decoder, one row a step", "</s>", " B "):
        assert part in said.out


def test_what_cannot_be_traced(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(clearhead(capsys, "trace", toy_run, "  "), 3, "there is nothing to trace")
    assert_one_line(clearhead(capsys, "trace", toy_run, "我" * 70), 3, "pieces, the model takes 62")
    assert_one_line(
        clearhead(capsys, "trace", toy_run.parent / "rnu", "我"), 4, "no such directory; did you mean 'run'?"
    )
    above = clearhead(capsys, "trace", toy_run.parent, "我")
    assert_one_line(above, 4, "is a folder of runs, and this takes one of them: run")
    other = clearhead(capsys, "trace", toy_run / "checkpoints", "我")
    assert_one_line(other, 4, "is not a run directory: it has no recipe.toml")


def test_a_run_of_several_languages_is_traced_in_one(two_ways: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "trace", two_ways / "run", "--to", "zh", "We are at home.", "--json")
    assert json.loads(said.out)["source"][0]["piece"] == "<2zh>"
    assert clearhead(capsys, "trace", two_ways / "run", "We are at home.").code == 2
