"""Scores a run with its weights in each kind of numbers that the native engine has: BLEU, or perplexity.

    precision.py RUN DATA [--splits valid test] [--pieces N] [--kinds float32 int8] [--cache int8] [--beam N]

A translator translates each split by greedy or beam search. A language model reads it in windows of its context that
slide by half, every piece scored once; the logits are those of the native engine. Prints a Markdown table.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.packing import Weights
from clearhead.evaluate.translation import score_translations
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.scoring import read_split
from clearhead.tasks.translation.scoring import read_lines, split_files
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.load import load

ROWS = 8  # windows that are read together


def native(loaded: Translator | LanguageModel) -> NativeModel:
    """Returns the packed model of a run, which must be one that the native engine covers."""
    writer = loaded.writer
    assert isinstance(writer, NativeModel)
    return writer


def bleu(translator: Translator, data: Path, split: str, beam: int) -> tuple[float, float]:
    """Returns BLEU, and target pieces per second."""
    lines = read_lines(split_files(translator, data, split))
    native(translator)
    started = time.perf_counter()
    found = translator.translate([source for source, _ in lines], beam=beam, split="overlong")
    seconds = time.perf_counter() - started
    texts = [each.text for each in found]
    scores = score_translations(texts, [target for _, target in lines], tokenize=translator.recipe.bleu_tokenize)
    return scores.bleu, sum(len(each.log_probs) for each in found) / seconds


def perplexity(model: LanguageModel, data: Path, split: str, pieces: int, cache: Any) -> tuple[float, float]:
    """Returns the perplexity of a piece, and pieces read per second."""
    packed, stream = native(model).holding(cache), read_split(model, data, split)
    ids = np.append(stream.begin, stream.ids[: pieces or None]).astype(np.int32)
    context = model.recipe.model.max_seq_len
    half = context // 2
    starts = [0, *range(half, len(ids) - 1 - half, half)]  # each window but the first scores its second half
    total, read, started = 0.0, 0, time.perf_counter()
    for first in range(0, len(starts), ROWS):
        windows = [ids[start : start + context] for start in starts[first : first + ROWS]]
        targets = [ids[start + 1 : start + 1 + context] for start in starts[first : first + ROWS]]
        windows = [window[: len(wanted)] for window, wanted in zip(windows, targets, strict=True)]
        rows = packed.rows()
        rows.join_empty(len(windows))
        counts = np.array([*map(len, windows)], dtype=np.int32)
        logits = rows.extend(np.concatenate(windows), counts, every=True).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        wanted = np.concatenate(targets)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(wanted)), wanted]
        for start, part in zip(starts[first:], np.split(losses, np.cumsum(counts)[:-1]), strict=False):
            total += part[half if start else 0 :].sum()
        read += len(wanted)
    return math.exp(total / (len(ids) - 1)), read / (time.perf_counter() - started)


def main() -> None:
    """Prints the table of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", nargs="+", default=["valid"])
    parser.add_argument("--kinds", nargs="+", default=[*get_args(Weights)], choices=get_args(Weights))
    parser.add_argument("--pieces", type=int, default=0, help="of a language model's split: the first so many")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--cache", default="float32", choices=["float32", "int8"], help="of a language model")
    asked = parser.parse_args()
    kind_of_model: Any = type(load(asked.run, device="cpu"))
    print("| split | weights | MB | score | to first | pieces/s |\n|---|---|---|---|---|---|")
    for split in asked.splits:
        first = 0.0
        for kind in asked.kinds:
            loaded = kind_of_model.load(asked.run, device="cpu", weights=kind)
            if isinstance(loaded, Translator):
                score, speed = bleu(loaded, asked.data, split, asked.beam)
                change = f"{score - first:+.2f}" if first else ""
            else:
                score, speed = perplexity(loaded, asked.data, split, asked.pieces, asked.cache)
                change = f"{100 * (score / first - 1):+.2f} %" if first else ""
            first = first or score
            size = native(loaded).image.nbytes / 1e6
            print(f"| {split} | {kind} | {size:.1f} | {score:.2f} | {change} | {speed:.0f} |", flush=True)


if __name__ == "__main__":
    main()
