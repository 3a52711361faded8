"""Scores of a run on a split: what ``clearhead evaluate`` does."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from clearhead.data.corpus import NoSplitError
from clearhead.tasks.catalog import family_of_run
from clearhead.tasks.expanded import open_run
from clearhead.tasks.family import Evaluation, EvaluationOptions


@contextlib.contextmanager
def suggesting_valid(split: str) -> Iterator[None]:
    """Adds to the error of a missing test split that there is another one to score.

    Raises:
        NoSplitError: the files of ``split`` are missing.
    """
    try:
        yield
    except NoSplitError as error:
        if split != "test":
            raise
        raise NoSplitError(f"{error}; without test lines, --split valid scores those of validation") from error


def evaluate_run(
    run: Path,
    data: Path,
    split: str,
    options: EvaluationOptions,
    *,
    checkpoint: str = "best",
    device: str = "auto",
) -> tuple[int, Evaluation]:
    """Scores a run, whatever its family.

    Args:
        run: its directory.
        data: a text file or a folder of them.
        split: train, valid or test; of translators also the stem of other files.
        options: how it is scored.
        checkpoint: best, latest, or a checkpoint's name.
        device: see ``pick_device``.

    Returns:
        The step of the weights, and the scores.

    Raises:
        ClearheadError: the run or the text cannot be used, or an option is wrong.
    """
    opened = open_run(run, checkpoint=checkpoint)
    family = family_of_run(opened)
    trained = family.load(opened, device=device)
    with suggesting_valid(split):
        return trained.step, family.evaluate(trained, data, split, options)
