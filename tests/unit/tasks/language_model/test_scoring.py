"""Scores of a whole split: by hand, whatever the window; by position; what cannot be scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.errors import UsageError
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.language_model.ngram_job import prepare_ngram
from clearhead.tasks.language_model.scoring import evaluate_language_model, loss_by_position, read_split
from clearhead.verbs.load import load_language_model
from clearhead.verbs.train import train_run

TOKENIZER = {"kind": "char", "vocab_size": 60, "min_frequency": 1}
SMALL = {"d_model": 8, "n_layers": 1, "max_seq_len": 8, "dropout": 0.0}
TRAIN = {"max_steps": 3, "batch_tokens": 64, "device": "cpu"}
TREES: dict[str, dict[str, Any]] = {
    "language_model": {"model": {**SMALL, "d_ff": 16, "n_heads": 2}, "train": TRAIN},
    "rnn_language_model": {"model": SMALL, "train": TRAIN},
    "ngram": {"model": {"order": 3}},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"the cat sat on mat {number * number}.\n" for number in range(40)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for task, tree in TREES.items():
        found[task] = tmp_path_factory.mktemp(task)
        prepare = prepare_ngram if task == "ngram" else prepare_job
        train_run(prepare({"task": task, "tokenizer": TOKENIZER, **tree}, "here", text), found[task])
    return found


def losses_of(model: Any, ids: list[int]) -> list[float]:
    """Loss of each of ``ids`` but the first, given those before it."""
    if isinstance(model, NgramLanguageModel):
        return [-float(np.log(model.model.next_probs(ids[:at])[ids[at]])) for at in range(1, len(ids))]
    with torch.inference_mode():
        logits = model.model(torch.tensor([ids[:-1]]))[0].log_softmax(dim=-1)
    return [-float(logits[at, piece]) for at, piece in enumerate(ids[1:])]


@pytest.mark.parametrize("task", TREES)
def test_position_by_position(task: str, runs: dict[str, Path], text: Path) -> None:
    model = load_language_model(runs[task], device="cpu")
    stream = read_split(model, text, "valid")
    ids = [model.tokenizer.ids.eos, *stream.ids.tolist()]
    windows = [losses_of(model, ids[at : at + 7]) for at in range(0, len(stream) // 6 * 6, 6)]
    np.testing.assert_allclose(loss_by_position(model, stream, width=6), np.mean(windows, axis=0), rtol=1e-4)


@pytest.mark.parametrize("task", ["language_model", "rnn_language_model"])
def test_a_shorter_context_makes_shorter_windows(task: str, runs: dict[str, Path], text: Path) -> None:
    model = load_language_model(runs[task], device="cpu")
    assert isinstance(model, LanguageModel)
    assert loss_by_position(model, read_split(model, text, "valid")).shape == (8,)


@pytest.mark.parametrize("task", TREES)
def test_the_whole_split_is_scored(task: str, runs: dict[str, Path], text: Path) -> None:
    model = load_language_model(runs[task], device="cpu")
    found = evaluate_language_model(model, text, "valid")
    stream = read_split(model, text, "valid")
    assert found.scores.tokens == len(stream)
    if task == "ngram":
        ids = stream.ids.tolist()
        first = -float(np.log(model.model.next_probs([])[ids[0]]))
        assert found.scores.loss == pytest.approx((first + sum(losses_of(model, ids))) / len(ids))
        assert (found.context, found.stride) == (2, 0)
    else:
        assert (found.context, found.stride) == (8, 4)
        ids = [model.tokenizer.ids.eos, *stream.ids.tolist()]
        apart = [loss for at in range(0, len(stream), 8) for loss in losses_of(model, ids[at : at + 9])]
        assert evaluate_language_model(model, text, "valid", stride=8).scores.loss == pytest.approx(
            np.mean(apart), rel=1e-4
        )


def test_what_cannot_be_scored(runs: dict[str, Path], text: Path) -> None:
    ngram, gpt = (load_language_model(runs[task], device="cpu") for task in ("ngram", "language_model"))
    with pytest.raises(UsageError, match="stride = 2: an n-gram model reads no windows"):
        evaluate_language_model(ngram, text, "valid", stride=2)
    with pytest.raises(UsageError, match="stride = 9: must be from 1 to the model's context of 8"):
        evaluate_language_model(gpt, text, "valid", stride=9)
    with pytest.raises(UsageError, match="--split 'dev': must be one of train, valid, test"):
        evaluate_language_model(gpt, text, "dev")
