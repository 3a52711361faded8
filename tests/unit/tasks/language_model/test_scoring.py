"""Scores of a whole split: by hand, whatever the window; what cannot be scored."""

from pathlib import Path

import numpy as np
import pytest

from clearhead.errors import UsageError
from clearhead.tasks.language_model.scoring import evaluate_language_model, read_split
from clearhead.verbs.load import load_language_model
from tests.language import TREES, losses_of


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
