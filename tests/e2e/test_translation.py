"""From two text files to a translator: a tiny model learns its corpus by heart; every verb works on real text."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from clearhead.config import merge
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.train import train
from tests import toy
from tests.toy import RECIPE, clearhead, write_recipe

MEMORIZE = {
    "tokenizer": {"vocab_size": 600},
    "model": {"dropout": 0.0},
    "optim": {"schedule": "cosine", "ema_decay": 0.0},
    "train": {"max_steps": 320, "batch_tokens": 1000, "lr": 5e-3, "warmup_steps": 40, "checkpoint_every": 0},
}


def test_a_tiny_model_learns_its_corpus_by_heart(tmp_path: Path) -> None:
    pairs = toy.demo_lines(200)
    data = toy.write_corpus(tmp_path / "data", pairs, held_out=5)
    toy.write_split(data, "valid", pairs[:50])  # judged on what it was trained on
    result = train(write_recipe(tmp_path / "toy.toml", merge(RECIPE, MEMORIZE)), data=data, out=tmp_path / "run")
    assert (result.step, result.reason) == (320, "max_steps")
    assert result.scores["loss"] < 0.2
    translator = Translator.load(result.run)
    found = translator.translate([zh for zh, _ in pairs[:20]])
    right = sum(one.text == en for one, (_, en) in zip(found, pairs, strict=False))
    assert right >= 16
    assert all(one.complete for one in found)


@pytest.fixture
def tatoeba(shared_data: Path, tmp_path: Path) -> Path:
    """The first lines of Tatoeba's training text, and some of its held-out lines, one side of them packed."""
    folder = tmp_path / "data"
    folder.mkdir()
    for stem, count in (("train", 400), ("valid", 20), ("test", 20)):
        for language in ("zh", "en"):
            with (shared_data / "tatoeba-zh-en" / f"{stem}.{language}").open(encoding="utf-8") as file:
                text = "".join(islice(file, count))
            if (stem, language) == ("train", "en"):
                (folder / "train.en.gz").write_bytes(gzip.compress(text.encode()))
            else:
                (folder / f"{stem}.{language}").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.long
def test_every_verb_works_on_real_text(tatoeba: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    sizes = ["tokenizer.vocab_size=600", "model.d_model=32", "model.d_ff=32", "train.device=cpu"]
    rhythm = ["train.max_steps=6", "train.warmup_steps=2", "train.checkpoint_every=2", "train.evaluate_every=3"]
    changes = [word for change in [*sizes, *rhythm] for word in ("--set", change)]
    train_words = ["train", "translate-tiny", "--data", tatoeba, "--src", "zh", "--tgt", "en", "--out", run]
    assert clearhead(capsys, *train_words, *changes).code == 0
    longer = [word.replace("max_steps=6", "max_steps=8") for word in changes]
    assert json.loads(clearhead(capsys, *train_words, *longer, "--resume", "--json").out)["step"] == 8
    assert clearhead(capsys, "average", run, "--last", "2").code == 0
    said = clearhead(capsys, "evaluate", run, "--data", tatoeba, "--beam", "1", "--json", "--checkpoint", "average-2")
    tree = json.loads(said.out)
    assert (tree["sentences"], tree["step"]) == (20, 8)
    assert 3 < tree["loss"] < 8
    assert said.code == 0
    said = clearhead(capsys, "translate", run, "我吃了一个苹果。", "", "你好！", "--beam", "2")
    assert (said.code, said.out.count("\n")) == (0, 3)
    trace = json.loads(clearhead(capsys, "trace", run, "我吃了一个苹果。", "--json").out)
    assert trace["steps"][0]["input"] == ["<s>"]
