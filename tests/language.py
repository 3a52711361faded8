"""Language models of three kinds that hardly learn, and what they say of a text, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from clearhead.config import merge
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.verbs.train import train_run

TOKENIZER = {"kind": "char", "vocab_size": 60, "min_frequency": 1}
SMALL = {"d_model": 8, "n_layers": 1, "max_seq_len": 8, "dropout": 0.0}
TRAIN = {"max_steps": 3, "batch_tokens": 64, "device": "cpu"}
TREES: dict[str, dict[str, Any]] = {
    "language_model": {"model": {**SMALL, "d_ff": 16, "n_heads": 2}, "train": TRAIN},
    "rnn_language_model": {"model": SMALL, "train": TRAIN},
    "ngram": {"model": {"order": 3}},
}


def write_text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text("".join(f"the cat sat on mat {number * number}.\n" for number in range(40)), encoding="utf-8")
    return path


def write_runs(folder: Path, text: Path, more: dict[str, Any] | None = None) -> dict[str, Path]:
    """Trains a model of each kind for three steps."""
    for task, tree in TREES.items():
        recipe = merge({"task": task, "tokenizer": TOKENIZER, **tree}, more or {})
        (folder / task).mkdir()
        train_run(prepare_job(recipe, "here", text), folder / task)
    return {task: folder / task for task in TREES}


def losses_of(model: Any, ids: list[int]) -> list[float]:
    """Loss of each of ``ids`` but the first, given those before it."""
    if isinstance(model, NgramLanguageModel):
        return [-float(np.log(model.model.next_probs(ids[:at])[ids[at]])) for at in range(1, len(ids))]
    with torch.inference_mode():
        logits = model.model(torch.tensor([ids[:-1]]))[0].log_softmax(dim=-1)
    return [-float(logits[at, piece]) for at, piece in enumerate(ids[1:])]
