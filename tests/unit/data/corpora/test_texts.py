"""Several texts in one stream: documents and windows are those of each, in the shares that were asked for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.checkpoint import load_weights
from clearhead.config import merge
from clearhead.data.corpora.mixture import Corpus
from clearhead.data.corpora.texts import TextMixture, read_texts, scored_texts, train_text_tokenizer
from clearhead.data.corpus import NoSplitError
from clearhead.data.documents import DocumentsConfig
from clearhead.data.stream import TokenStream, prepare_stream
from clearhead.errors import DataError, UsageError
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.catalog import resolve
from clearhead.tasks.family import EvaluationOptions
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.verbs.evaluate import evaluate_run
from clearhead.verbs.train import train
from tests.toy import LANGUAGE_MODEL, write_recipe

TWO = (Corpus("a"), Corpus("b", weight=2.0))
CONFIG = DocumentsConfig(corpora=TWO, separator="line", temperature=2.0)
TEXTS = {"a": [f"{number} is a line of the first text" for number in range(60)], "b": ["the other", "has few", "lines"]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, lines in TEXTS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "data" / "a" / "valid.txt").write_text("5 is a line of the first text\n1\n", encoding="utf-8")
    (tmp_path / "data" / "b" / "valid.txt").write_text("has few lines\n", encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def stream(data: Path, tmp_path: Path) -> tuple[Tokenizer, TokenStream]:
    documents = read_texts(data, split="train", config=CONFIG)
    tokenizer = train_text_tokenizer(documents, TokenizerConfig(vocab_size=300))
    return tokenizer, prepare_stream(documents, tokenizer=tokenizer, cache_dir=tmp_path / "cache")


def test_each_text_has_its_region(stream: tuple[Tokenizer, TokenStream]) -> None:
    tokenizer, encoded = stream
    assert encoded.report.corpora == {"a": 60, "b": 3}
    first, second = (encoded.ids[begin:end].tolist() for begin, end in TextMixture(encoded, CONFIG).regions)
    assert len(first) + len(second) == len(encoded)
    for ids, lines in ((first, TEXTS["a"]), (second, TEXTS["b"])):
        assert ids == [piece for line in lines for piece in (*tokenizer.encode(line), tokenizer.ids.eos)]


def test_windows_are_of_one_text_and_come_in_passes(stream: tuple[Tokenizer, TokenStream]) -> None:
    """Over two passes of the small text every piece of it is a target twice; an epoch follows from its number alone."""
    _, encoded = stream
    mixture = TextMixture(encoded, CONFIG)
    border = int(mixture.regions[1, 0])
    sizes = [border, len(encoded) - border]
    parts = [sizes[0] ** 0.5, 2 * sizes[1] ** 0.5]
    assert mixture.counts == [round(part / sum(parts) * sum(sizes)) for part in parts]
    options: Any = {"context": 8, "batch_tokens": 32, "seed": 1}
    epochs = [mixture.windows(**options, epoch=epoch) for epoch in range(6)]
    for spans in (epoch.spans for epoch in epochs):
        assert ((spans[:, 0] >= border) | (spans[:, 2] <= border)).all()
        assert (spans[:, 2] - spans[:, 0] <= 8).all()
    targets = np.zeros(len(encoded), int)
    for epoch in epochs:
        for begin, _, end in epoch.spans:
            targets[begin:end] += 1
    for part, count in zip((targets[:border], targets[border:]), mixture.counts, strict=True):
        passes = 6 * count / len(part)
        assert {int(passes), int(passes) + 1} >= set(part.tolist())
        assert part.mean() == pytest.approx(passes, rel=0.1)
    again = mixture.windows(**options, epoch=4)
    assert np.array_equal(again.spans, epochs[4].spans)
    assert np.array_equal(again.plan.order, epochs[4].plan.order)
    batch = again[0]
    assert batch.ids.shape[0] == 4
    with pytest.raises(UsageError, match="must be at least the context of 8 tokens"):
        mixture.windows(context=8, batch_tokens=7, seed=0, epoch=0)


def test_the_report_says_the_shares(stream: tuple[Tokenizer, TokenStream]) -> None:
    mixture = TextMixture(stream[1], CONFIG)
    tree = mixture.as_dict()["mixture"]
    assert [tree[name]["documents"] for name in "ab"] == [60, 3]
    assert tree["a"]["tokens"] + tree["b"]["tokens"] == len(stream[1])
    assert tree["b"]["share"] == pytest.approx(mixture.counts[1] / sum(mixture.counts), abs=1e-6)
    assert mixture.lines()[-1].startswith("  b: 3 documents, ")


def test_a_small_text_counts_more_in_the_vocabulary(data: Path) -> None:
    """Its only frequent word gets a piece where its share is large."""
    (data / "b" / "train.txt").write_text("xylophone\n", encoding="utf-8")

    def pieces(weight: float) -> set[str]:
        config = replace(CONFIG, temperature=1.0, corpora=(Corpus("a"), Corpus("b", weight=weight)))
        documents = read_texts(data, split="train", config=config)
        tokenizer = train_text_tokenizer(documents, TokenizerConfig(vocab_size=310, min_frequency=3))
        return {tokenizer.piece(index) for index in range(tokenizer.vocab_size)}

    assert "xylophone" not in pieces(1.0)
    assert "xylophone" in pieces(1000.0)


def test_what_is_scored(data: Path) -> None:
    """The texts together where they are; else the text that is given, by itself."""
    assert [*scored_texts(data, "valid", CONFIG)] == ["5 is a line of the first text", "1", "has few lines"]
    assert [*scored_texts(data / "b", "valid", CONFIG)] == ["has few lines"]
    with pytest.raises(UsageError, match="--split 'dev'"):
        scored_texts(data, "dev", CONFIG)
    with pytest.raises(NoSplitError):
        read_texts(data, split="test", config=CONFIG)
    (data / "b" / "train.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"data.corpora: 'b' has no document"):
        list(read_texts(data, split="train", config=CONFIG))


@pytest.mark.parametrize("task", ["ngram", "masked"])
def test_other_models_take_one_text(task: str) -> None:
    with pytest.raises(UsageError, match=r"data.corpora: is for translators and for language models"):
        resolve({"task": task, "data": {"corpora": [{"path": "a"}]}}, "here")


def test_a_run_is_resumed_to_the_bit(data: Path, tmp_path: Path) -> None:
    corpora = {"separator": "line", "temperature": 2.0, "corpora": [{"path": "a"}, {"path": "b", "weight": 2.0}]}
    small = {"train": {"max_steps": 7, "checkpoint_every": 3, "batch_tokens": 96}, "model": {"max_seq_len": 16}}
    recipe = write_recipe(tmp_path / "lm.toml", merge({**LANGUAGE_MODEL, "data": corpora}, small))
    whole = train(recipe, data=data, out=tmp_path / "whole")
    train(recipe, data=data, out=tmp_path / "cut", overrides=["train.max_steps=3"])
    cut = train(recipe, data=data, out=tmp_path / "cut", resume=True)
    assert cut.scores == whole.scores
    places = [find_checkpoint(tmp_path / name, "latest") for name in ("whole", "cut")]
    first, second = (load_weights(place)[0] for place in places if place is not None)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    report = json.loads((tmp_path / "cut" / "data-report.json").read_text(encoding="utf-8"))
    assert [*report["train"]["mixture"]] == ["a", "b"]
    assert report["train"]["end_marks"] == 63
    _, scores = evaluate_run(tmp_path / "cut", data, "valid", EvaluationOptions())
    assert scores.as_dict()["loss"] > 0
