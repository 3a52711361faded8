"""``clearhead classify``: a line out for every line in, pairs by a tab or an option, one line for what is wrong."""

import io
import json
import sys
from pathlib import Path

import pytest

from clearhead.tasks.classify.classifier import Classifier
from tests.native import NATIVE
from tests.toy import Said, assert_one_line, clearhead, in_process

TEXTS = ["the film was great", "awful", "a fine plot"]


def from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, *words: object) -> Said:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
    return clearhead(capsys, "classify", *words)


def test_a_line_out_for_every_line_in(
    toy_classifier: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearhead.cli.classify.LINES", 2)
    found = Classifier.load(toy_classifier).classify(TEXTS)
    expected = "".join(f"{one.label}\t{one.score:.4f}\n" for one in found)
    assert expected.splitlines()[1].startswith("bad\t")
    assert from_stdin(monkeypatch, capsys, "\n".join(TEXTS) + "\n", toy_classifier) == Said(0, expected, "")
    assert clearhead(capsys, "classify", toy_classifier, TEXTS[0]) == Said(0, expected.splitlines(True)[0], "")
    assert from_stdin(monkeypatch, capsys, "", toy_classifier) == Said(0, "", "")


def test_json_has_every_probability(toy_classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = json.loads(clearhead(capsys, "classify", toy_classifier, "--json", "great").out)
    assert set(tree) == {"text", "label", "score", "probabilities", "dropped"}
    assert (tree["text"], tree["label"]) == ("great", "good")
    assert set(tree["probabilities"]) == {"good", "bad"}


def test_pairs(toy_pair_classifier: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = clearhead(capsys, "classify", toy_pair_classifier, "a great film", "--pair", "really", "--json")
    assert json.loads(said.out)["pair"] == "really"
    lines = from_stdin(
        monkeypatch, capsys, "a great film\treally\na dull film\twas it\n", toy_pair_classifier, "--json"
    )
    trees = [json.loads(line) for line in lines.out.splitlines()]
    assert [(tree["text"], tree["pair"]) for tree in trees] == [("a great film", "really"), ("a dull film", "was it")]
    assert trees[0]["score"] == pytest.approx(json.loads(said.out)["score"], abs=1e-6)


def test_what_was_cut_off_is_said(toy_classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "classify", toy_classifier, "great " * 30)
    assert (said.code, said.err) == (0, "clearhead: text 1: too long, 8 pieces were left out\n")


def test_what_is_wrong_is_one_line(
    toy_classifier: Path, toy_pair_classifier: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    single, pair = toy_classifier, toy_pair_classifier
    assert_one_line(clearhead(capsys, "classify", single, "a", "--pair", "b"), 2, "--pair: run ", "single texts")
    assert_one_line(clearhead(capsys, "classify", pair, "a"), 2, "was trained on pairs: add --pair TEXT")
    assert_one_line(clearhead(capsys, "classify", pair, "--pair", "a"), 2, "--pair: needs TEXT")
    assert_one_line(clearhead(capsys, "classify", single, " "), 3, "text 1: the text is empty")
    monkeypatch.setattr("clearhead.cli.classify.LINES", 2)
    said = from_stdin(monkeypatch, capsys, "a\nb\n\n", single)
    assert_one_line(said, 3, "stdin line 3: the text is empty")
    assert len(said.out.splitlines()) == 3
    assert_one_line(from_stdin(monkeypatch, capsys, "a\tb\n", single), 3, "stdin line 1: two texts, but the run is for")
    assert_one_line(from_stdin(monkeypatch, capsys, "a\n", pair), 3, "stdin line 1: one text, but the run is for pairs")


def test_a_line_that_cannot_be_classified_costs_no_other_line(
    toy_classifier: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = (clearhead(capsys, "classify", toy_classifier, text).out for text in TEXTS[:2])
    content = f"\ufeff{TEXTS[0]}\n\na\tb\n{TEXTS[1]}\n"
    said = from_stdin(monkeypatch, capsys, content, toy_classifier)
    assert (said.code, said.out) == (3, first + "\n" * 2 + last)
    assert said.err.splitlines() == [
        "clearhead: stdin line 2: the text is empty",
        "clearhead: stdin line 3: two texts, but the run is for single ones",
    ]
    trees = [
        json.loads(line)
        for line in from_stdin(monkeypatch, capsys, content, toy_classifier, "--json").out.split("\n")[:-1]
    ]
    assert [tree.get("error", "")[:11] for tree in trees] == ["", "the text is", "two texts, ", ""]


@pytest.mark.long
def test_as_a_user_runs_it(toy_classifier: Path) -> None:
    """In a process of its own: bytes in and out, nothing else on stdout or stderr."""
    said = in_process("classify", toy_classifier, stdin=b"great\nawful\n")
    assert (said.code, said.err, [line.split("\t")[0] for line in said.out.splitlines()]) == (0, "", ["good", "bad"])


@NATIVE
@pytest.mark.parametrize("words", [["--engine", "torch"], ["--engine", "native"], ["--weights", "int8"]])
def test_who_computes_can_be_chosen(words: list[str], toy_classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label, score = clearhead(capsys, "classify", toy_classifier, TEXTS[0], *words).out.split("\t")
    assert (label, float(score) > 0.5) == ("good", True)
