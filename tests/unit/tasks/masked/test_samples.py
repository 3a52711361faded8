"""Sampled fills: the pieces that ``fill`` finds, in brackets; the share of right ones counted by hand."""

import re
from pathlib import Path

import pytest
import torch

from clearhead.runs.recipes import load_recipe
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.masked.job import MaskedJob
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.samples import Gapped, gapped_sentences, masked_samples


@pytest.fixture(scope="module")
def job(toy_masked_run: Path) -> MaskedJob:
    job = prepare_job(load_recipe(toy_masked_run), "recipe", toy_masked_run.parent / "data", run=toy_masked_run)
    assert isinstance(job, MaskedJob)
    return job


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run, engine="torch")


def test_gaps_are_filled_as_fill_does(job: MaskedJob, model: MaskedModel) -> None:
    lines, scores = job.sample(model.model)
    assert len(lines) == 3
    for line in lines:
        assert line.given.count("[MASK]") >= 1
        (filled,) = model.fill([line.given], top_k=1)
        best = [model.tokenizer.spelling(candidates[0].id).decode() for candidates in filled.masks]
        assert re.findall(r"\[(.*?)\]", line.made) == [text.removeprefix(" ") or text for text in best]
        assert re.sub(r"\[.*?\]", "_", line.made) == line.given.replace("[MASK]", "_")
    assert scores["right"] == pytest.approx(
        sum((line.score or 0.0) * line.given.count("[MASK]") for line in lines)
        / sum(line.given.count("[MASK]") for line in lines)
    )


def test_scores_count_the_gaps_that_are_right(job: MaskedJob, model: MaskedModel) -> None:
    (sentence,) = gapped_sentences(job.valid, 1, seed=0)
    first, _ = masked_samples(model.model, model.tokenizer, [sentence], torch.device("cpu"))
    made = list(sentence.ids)
    (filled,) = model.fill([first[0].given], top_k=1)
    for place, candidates in zip(sentence.hidden, filled.masks, strict=True):
        made[place] = candidates[0].id
    right, scores = masked_samples(model.model, model.tokenizer, [Gapped(made, sentence.hidden)], torch.device("cpu"))
    assert (right[0].score, scores, right[0].wanted) == (1.0, {"right": 1.0}, right[0].made)


def test_they_follow_from_the_seed(job: MaskedJob) -> None:
    assert gapped_sentences(job.valid, 4, 5) == gapped_sentences(job.valid, 4, 5) != gapped_sentences(job.valid, 4, 6)
    assert gapped_sentences(job.valid, 0, 5) == []
    assert masked_samples(job.model, job.parts.tokenizer, [], job.device) == ([], {})
