"""Sampled continuations: greedy ones of beginnings that stand in the valid split, cut between words."""

from pathlib import Path

import numpy as np
import pytest

from clearhead.data.documents import DocumentsConfig, read_documents
from clearhead.data.stream import TokenStream, prepare_stream
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.runs.recipes import load_recipe
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.job import LanguageModelJob
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.samples import beginnings
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

WORDS = "the river ran down to a small town and people there were fond of boats in summer".split()


def stream_of(text: str, folder: Path, **config: object) -> tuple[TokenStream, Tokenizer]:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    documents = read_documents(folder / "text.txt", split="train", config=DocumentsConfig(**config))  # type: ignore[arg-type]
    tokenizer = Tokenizer.train([text], TokenizerConfig(kind="char", vocab_size=200))
    return prepare_stream(documents, tokenizer=tokenizer, cache_dir=folder), tokenizer


def test_beginnings_stand_in_the_text_with_what_follows_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    text = "\n".join(" ".join(rng.choice(WORDS, 14)) for _ in range(100))
    stream, tokenizer = stream_of(text, tmp_path)
    found = beginnings(stream, tokenizer, 5, seed=3)
    assert found == beginnings(stream, tokenizer, 5, seed=3) != beginnings(stream, tokenizer, 5, seed=4)
    assert found[:2] == beginnings(stream, tokenizer, 2, seed=3)
    assert len(found) == 5
    for each in found:
        assert each.text + each.after in text
        assert each.text.split()[0] in WORDS
        assert each.text.split()[-1] in WORDS, "it is cut between words"
        assert 32 <= len(each.text) <= 48
        assert each.after.split()[-1] in WORDS


def test_beginnings_of_chinese_and_of_short_documents(tmp_path: Path) -> None:
    poems = [
        f"{'床前明月光疑是地上霜举头望明月低头思故乡'[at:]}春眠不觉晓处处闻啼鸟夜来风雨声花落知多少{at}"
        for at in range(12)
    ]
    stream, tokenizer = stream_of("\n".join(poems * 9), tmp_path, separator="line")
    for each in beginnings(stream, tokenizer, 4, seed=0):
        assert any(each.text + each.after in poem for poem in poems)
        assert len(each.text) == 16


@pytest.mark.parametrize("text", ["a b c d e f", "a" * 40, "a" * 40 + "\n" * 40 + "b"])
def test_a_text_that_is_too_short_gives_fewer(text: str, tmp_path: Path) -> None:
    assert len(beginnings(*stream_of(text, tmp_path), 3, seed=0)) <= 1


def test_continuations_are_greedy(toy_lm_run: Path) -> None:
    job = prepare_job(load_recipe(toy_lm_run), "recipe", toy_lm_run.parent / "data", run=toy_lm_run)
    assert isinstance(job, LanguageModelJob)
    model = LanguageModel.load(toy_lm_run, engine="torch")
    lines, scores = job.sample(model.model)
    assert scores == {}
    assert lines
    for line in lines:
        greedy = model.generate(line.given, GenerationConfig(max_new=48), sampling=SamplingConfig(temperature=0.0))
        assert line.made
        assert greedy.text.startswith(line.made)
