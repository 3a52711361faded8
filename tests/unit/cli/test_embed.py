"""``clearhead embed``: vectors as numbers, JSON or an array; long texts refused, or cut, counted and said."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from clearhead.tasks.masked.model import MaskedModel
from tests.native import NATIVE
from tests.toy import Said, assert_one_line, clearhead

TEXTS = ["He eats an apple.", "", "我吃了一个苹果。"]
LONG = "a b " * 40


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run)


def from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], texts: list[str], *words: object
) -> Said:
    content = "".join(f"{text}\n" for text in texts).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    return clearhead(capsys, "embed", *words)


def test_a_file_for_numpy(
    model: MaskedModel,
    toy_masked_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "vectors.npy"
    assert from_stdin(monkeypatch, capsys, TEXTS, toy_masked_run, "--out", out) == Said(0, f"{out}\n", "")
    found = np.load(out)
    assert (found.shape, found.dtype) == ((3, 64), np.float32)
    np.testing.assert_array_equal(found, model.embed(TEXTS))
    assert from_stdin(monkeypatch, capsys, [], toy_masked_run, "--out", out).code == 0
    assert np.load(out).shape == (0, 64)


def test_numbers_and_json(
    model: MaskedModel, toy_masked_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.embed(TEXTS)
    said = from_stdin(monkeypatch, capsys, TEXTS, toy_masked_run)
    assert (said.code, said.err) == (0, "")
    found = np.array([[float(value) for value in line.split("\t")] for line in said.out.splitlines()])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    tree = json.loads(clearhead(capsys, "embed", toy_masked_run, TEXTS[2], "--json").out)
    assert tree["text"] == TEXTS[2]
    np.testing.assert_allclose(tree["vector"], model.embed([TEXTS[2]])[0], atol=1e-5)


def test_what_is_too_long_is_refused_or_counted(
    model: MaskedModel,
    toy_masked_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped = len(model.tokenizer.encode(LONG)) - 46
    assert dropped > 0
    said = from_stdin(monkeypatch, capsys, ["a", LONG], toy_masked_run)
    assert_one_line(said, 3, "stdin line 2: ", f"{dropped + 48} pieces and marks, more than model.max_seq_len = 48")
    assert said.out == clearhead(capsys, "embed", toy_masked_run, "a").out + "\n"
    said = from_stdin(monkeypatch, capsys, [LONG, "a"], toy_masked_run, "--json")
    tree, vector = [json.loads(line) for line in said.out.splitlines()]
    assert (said.code, tree["text"], set(tree), set(vector)) == (3, LONG, {"text", "error"}, {"text", "vector"})
    out = tmp_path / "vectors.npy"
    assert from_stdin(monkeypatch, capsys, ["a", LONG, "b"], toy_masked_run, "--out", out).code == 3
    found = np.load(out)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, True, False])
    np.testing.assert_allclose(found[[0, 2]], model.embed(["a", "b"]), atol=1e-6)
    said = from_stdin(monkeypatch, capsys, ["a", LONG, LONG], toy_masked_run, "--overlong", "truncate")
    assert said.err == f"2 of 3 texts were too long: their last {2 * dropped} pieces were left out\n"
    assert said.out.count("\n") == 3


def test_a_file_that_cannot_be_written(toy_masked_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "embed", toy_masked_run, "a", "--out", toy_masked_run / "recipe.toml" / "v.npy")
    assert_one_line(said, 3, "cannot be written")


@NATIVE
def test_who_computes_can_be_chosen(toy_masked_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = [
        np.array(clearhead(capsys, "embed", toy_masked_run, TEXTS[0], *words).out.split("\t"), dtype=np.float32)
        for words in (["--engine", "torch"], ["--engine", "native"], ["--weights", "int8"])
    ]
    assert 0 < np.abs(vectors[1] - vectors[0]).max() < 1e-4 < np.abs(vectors[2] - vectors[0]).max() < 0.1
    said = clearhead(capsys, "embed", toy_masked_run, TEXTS[0], "--engine", "torch", "--weights", "int8")
    assert_one_line(said, 2, "weights = 'int8': engine = 'torch' has an encoder's weights as they are")
