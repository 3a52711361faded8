"""Learns how good translations of a run are by their log-probabilities, from lines that have references."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from clearhead.decode.hypotheses import SearchConfig
from clearhead.errors import DataError, UsageError
from clearhead.evaluate.correlation import correlation, ranks
from clearhead.evaluate.translation import score_lines
from clearhead.runs.directory import text_digests
from clearhead.tasks.translation.corpora.reading import read_lines
from clearhead.tasks.translation.scoring import split_files
from clearhead.tasks.translation.translator import Translator
from clearhead.tasks.translation.trust.confidence import Calibration, features

LEAST = 50  # lines
FOLDS, GROUPS = 10, 10
RIDGE = 1.0  # lines' worth of weight that holds the weights of the standardized features small

Table = Float[ndarray, "lines features"]
Column = Float[ndarray, " lines"]


def calibrate(
    run: Path,
    data: Path,
    split: str = "valid",
    *,
    beam: int = 5,
    length_penalty: float = 1.0,
    checkpoint: str = "best",
    device: Any = "auto",
) -> Calibration:
    """Translates a split, learns the chrF2 of a line by its log-probabilities, and keeps that in the run.

    Args:
        run: directory of a translator.
        data: folder of its text.
        split: valid, or other lines that it was not trained on.
        beam: see ``SearchConfig``.
        length_penalty: likewise.
        checkpoint: best, latest, or a checkpoint's name.
        device: see ``pick_device``.

    Raises:
        ModelError: it is not the run of a translator, or cannot be written to.
        DataError: the text cannot be used, or has too few lines.
        UsageError: the run translates in several directions, or was trained on these lines.
    """
    translator = Translator.load(run, checkpoint=checkpoint, device=device)
    if (count := len(translator.directions)) > 1:
        raise UsageError(f"run {str(run)!r}: translates in {count} directions, a calibration is of one alone")
    files = split_files(translator, data, split)
    if files.scan().digest in text_digests(run).get("train", "").split("+"):
        raise UsageError(
            f"--split {split}: is text that run {str(run)!r} was trained on, which it translates better than any "
            "other; a calibration is of lines that it was not trained on"
        )
    lines = read_lines(files)
    ranked = translator.n_best([src for src, _ in lines], SearchConfig(beam, 1, length_penalty), split="overlong")
    pairs = [
        (translations[0], reference)
        for translations, (_, reference) in zip(ranked, lines, strict=True)
        if translations and translations[0].log_probs and translations[0].parts == 1 and reference.strip()
    ]
    if len(pairs) < LEAST:
        raise DataError(
            f"--split {split}: has {len(pairs)} lines of one part with text on both sides, "
            f"a calibration takes {LEAST} or more"
        )
    truth = np.array(score_lines([translation.text for translation, _ in pairs], [text for _, text in pairs]))
    table = np.array([features(translation) for translation, _ in pairs])
    about = {"step": translator.step, "beam": beam, "length_penalty": length_penalty, "split": split}
    made = learned(table, truth, **about)
    made.save(run)
    return made


def learned(table: Table, truth: Column, **about: Any) -> Calibration:
    """Returns the calibration that fits lines best, scored on each line without it (cross-validation).

    Args:
        table: the features of each line.
        truth: its chrF2.
        about: fields of ``Calibration`` that say what the lines are.
    """
    parts = np.array_split(np.random.default_rng(0).permutation(len(truth)), FOLDS)
    predicted = np.empty(len(truth))
    for part in parts:
        rest = np.setdiff1d(np.arange(len(truth)), part)
        weights = fit(table[rest], truth[rest])
        predicted[part] = np.clip(weights[0] + table[part] @ weights[1:], 0, 100)
    groups = np.array_split(np.argsort(predicted, kind="stable"), GROUPS)
    return Calibration(
        weights=tuple(fit(table, truth).tolist()),
        lines=len(truth),
        pearson=correlation(predicted, truth),
        spearman=correlation(ranks(predicted), ranks(truth)),
        pearson_of_mean=correlation(table[:, 0], truth),
        off=float(np.mean([abs(predicted[group].mean() - truth[group].mean()) for group in groups])),
        **about,
    )


def fit(table: Table, truth: Column) -> Float[ndarray, " weights"]:
    """Returns a constant and the weight of each feature, by ridge regression on standardized features."""
    mean, spread = table.mean(axis=0), table.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = (table - mean) / spread
    gram = scaled.T @ scaled + RIDGE * np.eye(table.shape[1])
    weights = np.linalg.solve(gram, scaled.T @ (truth - truth.mean())) / spread
    return np.concatenate([[truth.mean() - mean @ weights], weights])
