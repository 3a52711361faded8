"""A toy corpus, a recipe that learns it in seconds, and ways to run verbs: what tests of tasks and cli share."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from clearhead.cli.main import main
from clearhead.config import write_toml
from clearhead.training.job import GradientJob
from clearhead.verbs.train import prepare_resumed, train
from tests.limits import HANGS

PAIRS, HELD_OUT = 40, 8
RECIPE = {
    "name": "toy",
    "src": "zh",
    "tgt": "en",
    "tokenizer": {"vocab_size": 400},
    "data": {"max_len": 62},
    "model": {
        "d_model": 64,
        "d_ff": 128,
        "n_heads": 4,
        "n_kv_heads": 2,
        "n_encoder_layers": 1,
        "n_decoder_layers": 2,
        "max_seq_len": 64,
        "dropout": 0.0,
    },
    "loss": {"label_smoothing": 0.0},
    "optim": {"schedule": "constant", "ema_decay": 0.9},
    "train": {
        "max_steps": 120,
        "batch_tokens": 600,
        "lr": 5e-3,
        "warmup_steps": 10,
        "evaluate_every": 0,
        "checkpoint_every": 40,
        "device": "cpu",
    },
}
TWO_WAYS = {
    **RECIPE,
    "name": "two-ways",
    "train": {**RECIPE["train"], "max_steps": 160},  # type: ignore[dict-item]
    "data": {
        "max_len": 61,
        "temperature": 2.0,
        "corpora": [
            {"path": "one", "src": "zh", "tgt": "en"},
            {"path": "other", "src": "en", "tgt": "zh", "weight": 2.0},
        ],
    },
}
CONTEXT = {
    **RECIPE,
    "name": "context",
    "data": {"max_len": 24, "context": 1, "drop_duplicates": False},
    "tokenizer": {"vocab_size": 400, "normalization": "none"},
    "train": {**RECIPE["train"], "max_steps": 120, "batch_tokens": 400, "checkpoint_every": 60},  # type: ignore[dict-item]
}
WHO = {"狗": "dog", "猫": "cat", "鸟": "bird", "鱼": "fish", "马": "horse", "牛": "cow"}
DOES = {"来": "comes", "跑": "runs", "睡": "sleeps", "吃": "eats", "叫": "calls"}
LANGUAGE_MODEL = {
    "task": "language_model",
    "name": "toy-lm",
    "tokenizer": {"vocab_size": 400},
    "data": {"separator": "line"},
    "model": {
        "d_model": 64,
        "d_ff": 128,
        "n_heads": 4,
        "n_kv_heads": 2,
        "n_layers": 2,
        "max_seq_len": 48,
        "dropout": 0.0,
        "position": "rotary",
        "tie": False,
    },
    "optim": {"schedule": "constant"},
    "train": {
        "max_steps": 150,
        "batch_tokens": 576,
        "lr": 5e-3,
        "warmup_steps": 10,
        "evaluate_every": 0,
        "checkpoint_every": 50,
        "device": "cpu",
    },
}
BASELINES: dict[str, dict[str, object]] = {
    "rnn_language_model": {
        "model": {"d_model": 64, "n_layers": 1, "max_seq_len": 24, "dropout": 0.0, "tie": False},
        "optim": {"schedule": "constant"},
        "train": {**LANGUAGE_MODEL["train"], "lr": 2e-2, "max_steps": 200},  # type: ignore[dict-item]
    },
    "ngram": {"model": {"order": 4, "smoothing": "witten_bell"}},
}
MASKED = {
    "task": "masked",
    "name": "toy-masked",
    "tokenizer": {"vocab_size": 400},
    "data": {"separator": "blank_line"},
    "model": {
        "d_model": 64,
        "d_ff": 128,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": 48,
        "dropout": 0.0,
        "block": {"norm_position": "post", "activation": "gelu", "attn_dropout": 0.0},
    },
    "optim": {"schedule": "constant"},
    "train": {
        "max_steps": 150,
        "batch_tokens": 1152,
        "lr": 3e-3,
        "warmup_steps": 10,
        "evaluate_every": 0,
        "checkpoint_every": 50,
        "device": "cpu",
    },
}
CLASSIFY: dict[str, object] = {
    "task": "classify",
    "name": "toy-classify",
    "tokenizer": {"kind": "wordpiece", "specials": "masked", "vocab_size": 200},
    "model": {"d_model": 16, "d_ff": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 24, "dropout": 0.1},
    "finetune": {"epochs": 6},
    "optim": {"schedule": "linear"},
    "train": {
        "batch_tokens": 160,
        "lr": 5e-3,
        "warmup_steps": 5,
        "evaluate_every": 0,
        "checkpoint_every": 0,
        "device": "cpu",
    },
}
GOOD, BAD, FILLING = "great fine lovely", "awful dull weak", "the film was plot acting music really a very it"
# in a process of its own: the shape checks of the test process make the grammar slow
GENERATE = """
from clearhead.data.demo_corpus import demo_pairs
for pair in demo_pairs({count}, 7):
    print(*pair, sep="\\t")
"""


class Said(NamedTuple):
    """What a verb left behind."""

    code: int
    out: str
    err: str


def demo_lines(count: int) -> list[tuple[str, str]]:
    """Returns ``count`` different pairs of the demo grammar."""
    command = [sys.executable, "-c", GENERATE.format(count=2 * count)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment())
    pairs = [(zh, en) for zh, en in (line.split("\t") for line in done.stdout.splitlines())]
    return list(dict.fromkeys(pairs))[:count]


def write_split(folder: Path, stem: str, pairs: list[tuple[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for side, language in enumerate(("zh", "en")):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"{stem}.{language}").write_text(text, encoding="utf-8", newline="\n")


def write_corpus(folder: Path, pairs: list[tuple[str, str]], held_out: int = HELD_OUT) -> Path:
    """Writes train, valid and test files; the last two are the last pairs."""
    write_split(folder, "train", pairs[: -2 * held_out])
    write_split(folder, "valid", pairs[-2 * held_out : -held_out])
    write_split(folder, "test", pairs[-held_out:])
    return folder


def write_stories(folder: Path) -> Path:
    """Writes train, valid and test files of short documents: who it is that does the second thing says the first line.

    A blank line stands between two documents.
    """
    told = [(one, other, who) for who in WHO for one in DOES for other in DOES if one != other]
    random.Random(0).shuffle(told)
    stories = [
        [(f"{who}{one}了。", f"the {WHO[who]} {DOES[one]}."), (f"它{other}了。", f"the {WHO[who]} {DOES[other]}.")]
        for one, other, who in told
    ]
    for stem, part in (("train", stories[:104]), ("valid", stories[104:112]), ("test", stories[112:])):
        write_split(folder, stem, [pair for story in part for pair in [*story, ("", "")]])
    return folder


def write_documents(folder: Path, lines: list[str], held_out: int = HELD_OUT) -> Path:
    """Writes train.txt and valid.txt, a document a line; the last lines are held out."""
    folder.mkdir(exist_ok=True)
    for stem, part in (("train", lines[:-held_out]), ("valid", lines[-held_out:])):
        text = "".join(f"{line}\n" for line in part)
        (folder / f"{stem}.txt").write_text(text, encoding="utf-8", newline="\n")
    return folder


def write_articles(folder: Path, lines: list[str], *, size: int = 4) -> Path:
    """Writes train.txt and valid.txt, ``size`` lines a document; every fifth document is held out."""
    folder.mkdir(exist_ok=True)
    documents = ["\n".join(lines[at : at + size]) for at in range(0, len(lines), size)]
    held_out = documents[::5]
    for stem, part in (("train", [one for one in documents if one not in held_out]), ("valid", held_out)):
        (folder / f"{stem}.txt").write_text("\n\n".join(part) + "\n", encoding="utf-8", newline="\n")
    return folder


def labelled_lines(count: int, seed: int = 0, *, pairs: bool = False) -> list[str]:
    """Returns lines whose label follows from one word; the second text of a pair has no say."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        word = draw.choice((GOOD if number % 2 else BAD).split())
        texts = [" ".join([*draw.choices(FILLING.split(), k=draw.randint(2, 9)), word])]
        if pairs:
            texts.append(" ".join(draw.choices(FILLING.split(), k=3)))
        lines.append("\t".join(["good" if number % 2 else "bad", *texts]))
    return lines


def write_labelled(folder: Path, train: list[str], valid: list[str]) -> Path:
    """Writes train.tsv and valid.tsv."""
    folder.mkdir(exist_ok=True)
    for stem, lines in (("train", train), ("valid", valid)):
        (folder / f"{stem}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return folder


def write_recipe(path: Path, tree: dict[str, object] = RECIPE) -> Path:
    path.write_text(write_toml(tree), encoding="utf-8")
    return path


def learn(folder: Path, tree: dict[str, object], data: Path, *, name: str = "run") -> Path:
    """Trains the recipe ``tree`` on ``data`` and returns the run, which is ``folder / name``."""
    return train(write_recipe(folder / f"{name}.toml", tree), data=data, out=folder / name).run


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONIOENCODING": "utf-8"}


def clearhead(capsys: pytest.CaptureFixture[str], *words: object) -> Said:
    """Runs a verb in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    code = ended.value.code
    return Said(code if isinstance(code, int) else int(code is not None), *capsys.readouterr())


def in_process(*words: object, stdin: bytes = b"", cwd: Path | None = None) -> Said:
    """Runs a verb as a user does, in a process of its own."""
    command = [sys.executable, "-m", "clearhead", *map(str, words)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, check=False, env=environment(), cwd=cwd, timeout=HANGS
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def assert_one_line(said: Said, code: int, *parts: str) -> None:
    """The verb failed with ``code`` and one line on stderr that holds every part."""
    assert said.code == code, said
    assert said.err.startswith("clearhead: "), said
    assert said.err.count("\n") == 1, said
    assert "Traceback" not in said.err
    assert "unexpected" not in said.err, said
    for part in parts:
        assert part in said.err, said


def endless(recipe: Path, data: Path, workers: int = 0) -> list[str]:
    """The command line of a training that does not end by itself."""
    changes = ["train.max_steps=100000", "train.checkpoint_every=0", f"data.workers={workers}"]
    words = [word for change in changes for word in ("--set", change)]
    return [sys.executable, "-m", "clearhead", "train", str(recipe), "--data", str(data), *words]


def await_steps(metrics: Path, meanwhile: Callable[[], object] = lambda: time.sleep(0.05)) -> None:
    """Waits until a step was taken."""
    deadline = time.monotonic() + HANGS
    while not (metrics.exists() and b'"stepped"' in metrics.read_bytes()) and time.monotonic() < deadline:
        meanwhile()


def resumed(run: Path, data: Path, *, max_steps: int) -> GradientJob:
    """What goes on with a run, its latest checkpoint taken over."""
    more = {"train": {"max_steps": max_steps}}
    job, _, checkpoint = prepare_resumed(run, more, data, progress=lambda done, total: None)
    assert isinstance(job, GradientJob)
    assert checkpoint is not None
    job.state.restore(checkpoint)
    return job
