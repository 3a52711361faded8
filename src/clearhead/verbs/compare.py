"""Trained runs side by side: the same split, the same scores, sizes and speeds."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import nn

from clearhead.data.corpus import read_parallel
from clearhead.errors import UsageError
from clearhead.evaluate.translation import default_tokenize, score_translations
from clearhead.runs.recipes import load_recipe
from clearhead.tasks.catalog import resolve, task_of
from clearhead.tasks.language_model import ngram
from clearhead.tasks.language_model import recipe as language_model
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.scoring import (
    POSITION_WINDOW,
    evaluate_language_model,
    loss_by_position,
    read_split,
)
from clearhead.tasks.language_model.writer import TextModel
from clearhead.tasks.masked import recipe as masked
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.scoring import evaluate_masked
from clearhead.tasks.translation import recipe as translation
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.translator import Translator
from clearhead.training.writers import read_metrics
from clearhead.verbs.load import load_language_model

BORDERS = (0, 4, 16, POSITION_WINDOW)  # pieces read, between which the loss by position is a mean
DECODED = 128  # pieces of the text that a language model is timed on


@dataclass(frozen=True)
class Compared:
    """One run in numbers; None is what there is not."""

    run: str
    model: str
    parameters: int
    """Of an n-gram model the n-grams stored."""
    scores: dict[str, float | None]
    """By name, in the order to show."""
    train_tokens_per_second: float | None
    """Median over the steps of the run, or of its one pass."""
    decode_tokens_per_second: float | None
    """Target pieces of the split a second; of a language model, pieces of one text, drawn one by one; a BERT's are
    None."""


@dataclass(frozen=True)
class Comparison:
    """Runs of one kind on one split."""

    split: str
    note: str
    """What the scores by length are."""
    runs: list[Compared]


def compare_runs(runs: Sequence[Path], data: Path, split: str, *, beam: int = 5, device: str = "auto") -> Comparison:
    """Scores runs on the same split.

    Args:
        runs: run directories, all of translators between the same languages, all of language models or all of BERTs.
        data: as for ``evaluate``.
        split: likewise.
        beam: of translators.
        device: see ``pick_device``.

    Raises:
        UsageError: the runs are of different kinds.
        ClearheadError: a run or the text cannot be used.
    """
    kinds = {run: _kind(run) for run in runs}
    first = runs[0]
    for run in runs[1:]:
        if kinds[run] != kinds[first]:
            raise UsageError(
                f"run {str(first)!r} is for {kinds[first]}, run {str(run)!r} for {kinds[run]}: "
                "there is nothing to compare them by"
            )
    if kinds[first] == "masked language modelling":
        note = "loss and accuracy of masked pieces: a piece is one of the run's own vocabulary"
        return Comparison(split, note, [_masked(run, data, split, device) for run in runs])
    if kinds[first] == "language modelling":
        note = f"loss by position: nats a piece of the run's own, in windows of {POSITION_WINDOW} read from nothing"
        return Comparison(split, note, [_language_model(run, data, split, device) for run in runs])
    note = "BLEU by length: thirds of the split by characters of the source"
    return Comparison(split, note, [_translator(run, data, split, beam, device) for run in runs])


def _kind(run: Path) -> str:
    tree, source = load_recipe(run), f"recipe of run {str(run)!r}"
    match task_of(tree, source):
        case "translation" | "rnn_translation":
            tree = resolve(tree, source)
            return f"translation from {tree['src']} to {tree['tgt']}"
        case "masked":
            return "masked language modelling"
        case _:
            return "language modelling"


def _translator(run: Path, data: Path, split: str, beam: int, device: str) -> Compared:
    translator = Translator.load(run, device=device)
    recipe = translator.recipe
    found = evaluate_translator(translator, data, split, beam=beam)
    pairs = [(src, tgt) for _, src, tgt in read_parallel(data, stem=found.split, src=recipe.src, tgt=recipe.tgt)]
    scores: dict[str, float | None] = {"BLEU": found.scores.bleu, "chrF2": found.scores.chrf}
    order = np.argsort([len(src.strip()) for src, _ in pairs], kind="stable")
    for name, rows in zip(("short", "middle", "long"), np.array_split(order, 3), strict=True):
        texts, references = [found.translations[row] for row in rows], [pairs[row][1] for row in rows]
        scored = score_translations(texts, references, tokenize=default_tokenize(recipe.tgt)) if len(rows) else None
        scores[f"BLEU, {name}"] = scored.bleu if scored else None
    sizes = translation.sizes_of(recipe.model)
    return Compared(str(run), sizes, _count(translator.model), scores, _trained(run), found.tokens_per_second)


def _language_model(run: Path, data: Path, split: str, device: str) -> Compared:
    model = load_language_model(run, device=device)
    found = evaluate_language_model(model, data, split).scores
    scores: dict[str, float | None] = {
        "bits a byte": found.bits_per_byte,
        "nats a character": found.nats_per_character,
        "word perplexity": found.word_perplexity,
    }
    losses = loss_by_position(model, read_split(model, data, split))
    for below, last in pairwise(BORDERS):
        part = losses[below:last]
        scores[f"loss, piece {below + 1} to {last}"] = float(part.mean()) if len(part) else None
    if isinstance(model, NgramLanguageModel):
        sizes, parameters = ngram.sizes_of(model.recipe.model), model.model.size
    else:
        sizes, parameters = language_model.sizes_of(model.recipe.model), _count(model.model)
    return Compared(str(run), sizes, parameters, scores, _trained(run), _generated(model))


def _masked(run: Path, data: Path, split: str, device: str) -> Compared:
    model = MaskedModel.load(run, device=device)
    found = evaluate_masked(model, data, split).scores
    scores: dict[str, float | None] = {
        "MLM loss": found.loss,
        "pseudo-perplexity": found.pseudo_perplexity,
        "MLM accuracy": found.mlm_accuracy,
        "NSP accuracy": found.nsp_accuracy,
    }
    return Compared(str(run), masked.sizes_of(model.recipe.model), _count(model.model), scores, _trained(run), None)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _trained(run: Path) -> float | None:
    """Tokens a second in training, None for a run without metrics."""
    path = run / "metrics.jsonl"
    records: Iterable[dict[str, float]] = read_metrics(path) if path.exists() else []
    rates = [record["tokens"] / record["seconds"] for record in records if record.get("tokens")]
    return statistics.median(rates) if rates else None


def _generated(model: TextModel) -> float:
    """Pieces a second of one text."""
    model.generate([""], GenerationConfig(max_new=4))  # the first calls start threads and pack the weights
    started = time.perf_counter()
    (text,) = model.generate([""], GenerationConfig(max_new=DECODED, min_length=DECODED))
    return len(text.ids) / (time.perf_counter() - started)
