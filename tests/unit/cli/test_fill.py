"""``clearhead fill``: candidates as lines or JSON, from an argument or stdin, and what goes wrong on one line."""

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from clearhead.tasks.masked.model import MaskedModel
from tests.native import NATIVE
from tests.toy import Said, assert_one_line, clearhead, in_process

TEXT = "He [MASK] an apple."


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run)


def test_a_candidate_is_a_line(model: MaskedModel, toy_masked_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = model.fill([TEXT], top_k=3)
    lines = [f"{one.probability:.4f}\t{one.piece}\t{one.text}\n" for one in found.masks[0]]
    assert clearhead(capsys, "fill", toy_masked_run, TEXT, "--top-k", 3) == Said(0, "".join(lines), "")
    two = clearhead(capsys, "fill", toy_masked_run, "a\n[MASK] b [MASK]").out.splitlines()
    assert len(two) == 10
    assert all(line.split("\t")[2].startswith(r"a\n") for line in two)


def test_lines_of_stdin_as_json(
    model: MaskedModel,
    toy_masked_run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [TEXT, "我[MASK]苹果", "[MASK] [MASK]"]
    content = "\n".join(texts).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    said = clearhead(capsys, "fill", toy_masked_run, "--json", "--top-k", 2)
    assert (said.code, said.err) == (0, "")
    trees = [json.loads(line) for line in said.out.splitlines()]
    assert trees == [asdict(one) for one in model.fill(texts, top_k=2)]
    assert set(trees[0]) == {"prompt", "text", "masks"}
    assert set(trees[0]["masks"][0][0]) == {"piece", "id", "probability", "text"}
    assert "我" in said.out


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["He eats"], 3, ["text 'He eats': has no [MASK], so there is nothing to fill"]),
        (["[MASK]" * 60], 3, ["62 pieces and marks, more than model.max_seq_len = 48"]),
        ([TEXT, "--top-k", "0"], 2, ["--top-k"]),
        ([TEXT, "--checkpoint", "step-7"], 4, ["has no checkpoint 'step-7'"]),
        (["[MASK] \udcff"], 3, ["lone surrogate"]),
    ],
)
def test_what_cannot_be_filled(
    words: list[str], code: int, parts: list[str], toy_masked_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "fill", toy_masked_run, *words)
    assert_one_line(said, code, *parts)
    assert said.out == ("\n" if code == 3 else "")


def test_a_line_that_cannot_be_filled_costs_no_other_line(
    toy_masked_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = clearhead(capsys, "fill", toy_masked_run, TEXT, "--top-k", 1).out
    errors = ["text 'no mask': has no [MASK]", "[MASK][MASK]", "not UTF-8 (byte 1 of the line)", "text '': has no"]
    content = "\n".join([TEXT, "no mask", "[MASK]" * 60]).encode() + b"\n\xff[MASK]\n\n" + TEXT.encode()
    for extra in ([], ["--json"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + content), encoding="utf-8"))
        said = clearhead(capsys, "fill", toy_masked_run, "--top-k", 1, *extra)
        assert said.code == 3
        for number, (line, part) in enumerate(zip(said.err.splitlines(), errors, strict=True), 2):
            assert line.startswith(f"clearhead: stdin line {number}: "), line
            assert part in line
        if not extra:
            assert said.out == alone + "\n" * 4 + alone
    trees = [json.loads(line) for line in said.out.splitlines()]
    assert ["error" in tree for tree in trees] == [False, True, True, True, True, False]
    assert trees[1]["prompt"] == "no mask"


def test_runs_of_other_kinds(toy_masked_run: Path, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(clearhead(capsys, "fill", toy_lm_run, TEXT), 4, "language_model", "use clearhead generate")
    assert_one_line(clearhead(capsys, "generate", toy_masked_run, "x"), 4, "for the task masked", "use clearhead fill")


@pytest.mark.long
def test_as_a_user_runs_it(toy_masked_run: Path) -> None:
    said = in_process("fill", toy_masked_run, "--top-k", "1", stdin=f"{TEXT}\n{TEXT}\n".encode())
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 2)


@NATIVE
@pytest.mark.parametrize("words", [["--engine", "torch"], ["--engine", "native"]])
def test_who_computes_can_be_chosen(
    words: list[str], model: MaskedModel, toy_masked_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = model.fill([TEXT], top_k=2)
    said = clearhead(capsys, "fill", toy_masked_run, TEXT, "--top-k", 2, *words)
    assert [line.split("\t")[1] for line in said.out.splitlines()] == [one.piece for one in found.masks[0]]
