"""A small run of each family with everything switched on that draws, averages or accumulates."""

import functools
from pathlib import Path
from typing import Any

from clearhead.config import merge
from tests import toy

STEPS = 20
TRAIN = {
    "max_steps": STEPS,
    "grad_accum_steps": 2,
    "checkpoint_every": 3,
    "evaluate_every": 8,
    "keep_last": 2,
    "warmup_steps": 4,
    "device": "cpu",
}
MODEL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "max_seq_len": 48, "dropout": 0.1}
BLOCK = {"attn_dropout": 0.1, "stochastic_depth": 0.2}
OPTIM = {"ema_decay": 0.9, "weight_decay": 0.01, "schedule": "cosine"}
RECIPES: dict[str, dict[str, Any]] = {
    # length buckets, BPE-dropout
    "translation": {
        "src": "zh",
        "tgt": "en",
        "tokenizer": {"kind": "bpe", "vocab_size": 300, "dropout": 0.1},
        "data": {"max_len": 46},
        "model": {**MODEL, "n_encoder_layers": 2, "n_decoder_layers": 2, "block": BLOCK},
        "optim": OPTIM,
        "train": {**TRAIN, "batch_tokens": 120},
    },
    "gpt": {
        "task": "language_model",
        "tokenizer": {"vocab_size": 300},
        "data": {"separator": "line", "packing": "isolated"},
        "model": {**MODEL, "n_layers": 2, "max_seq_len": 24, "tie": False, "block": BLOCK},
        "optim": {**OPTIM, "name": "muon"},
        "train": {**TRAIN, "batch_tokens": 96},
    },
    # masks and next sentences drawn anew each epoch
    "bert": {
        "task": "masked",
        "tokenizer": {"vocab_size": 300},
        "data": {"separator": "blank_line"},
        "model": {**MODEL, "n_layers": 2, "block": {**BLOCK, "norm_position": "post"}},
        "optim": OPTIM,
        "train": {**TRAIN, "batch_tokens": 192},
    },
}


@functools.cache
def _lines() -> list[tuple[str, str]]:
    return toy.demo_lines(90)


def write_family(folder: Path, name: str, *, workers: int) -> tuple[Path, Path]:
    """Writes the recipe and the text of a family; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = _lines()
    english = [line for _, line in pairs]
    match name:
        case "translation":
            data = toy.write_corpus(folder / "text", pairs, held_out=8)
        case "gpt":
            data = toy.write_documents(folder / "text", english)
        case _:
            data = toy.write_articles(folder / "text", english)
    tree = merge(RECIPES[name], {"name": name, "data": {"workers": workers}})
    return toy.write_recipe(folder / "recipe.toml", tree), data
