"""Sampled translations: those of ``translate``, with chrF2 of each; of several corpora in turn."""

from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.evaluate.translation import score_lines, score_translations
from clearhead.runs.recipes import load_recipe
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.translation.job import TranslationJob
from clearhead.tasks.translation.translator import Translator
from clearhead.training.samples.choose import most_pieces


def job_of(run: Path, data: Path, **train: object) -> TranslationJob:
    tree = load_recipe(run)
    tree["train"] |= train
    job = prepare_job(tree, "recipe", data, run=run)
    assert isinstance(job, TranslationJob)
    return job


def test_they_are_what_translate_makes_greedily(toy_run: Path, toy_data: Path) -> None:
    job, translator = job_of(toy_run, toy_data), Translator.load(toy_run, engine="torch")
    lines, scores = job.sample(translator.model)
    held_out = {
        tuple(pair)
        for pair in zip(*((toy_data / f"valid.{side}").read_text().splitlines() for side in ("zh", "en")), strict=True)
    }
    assert {(line.given, line.wanted) for line in lines} <= held_out
    assert len({line.given for line in lines}) == 3
    wanted = [line.wanted for line in lines]
    limit = most_pieces(map(len, job.parts.both.tgt.encode_batch(wanted)))
    made = [each.text for each in translator.translate([line.given for line in lines], beam=1, limit=limit)]
    assert [line.made for line in lines] == made
    assert [line.score for line in lines] == score_lines(made, wanted)
    assert scores == {"chrf": pytest.approx(score_translations(made, wanted).chrf)}


def test_another_seed_draws_other_lines_and_more_begin_with_the_same(toy_run: Path, toy_data: Path) -> None:
    first, other = (job_of(toy_run, toy_data, seed=seed).valid.parts[0].sampled for seed in (0, 1))
    assert first != other
    tree = load_recipe(toy_run)
    tree["validation"] |= {"samples": 1}
    one = prepare_job(tree, "recipe", toy_data, run=toy_run)
    assert isinstance(one, TranslationJob)
    assert one.valid.parts[0].sampled == first[:1]


def test_none_are_made_of_no_lines(toy_run: Path, toy_data: Path) -> None:
    job = job_of(toy_run, toy_data)
    parts = [replace(part, sampled=[]) for part in job.valid.parts]
    assert replace(job, valid=replace(job.valid, parts=parts)).sample(job.model) == ([], {})


def test_corpora_take_turns_and_each_is_in_its_own_language(two_ways: Path) -> None:
    job, translator = job_of(two_ways / "run", two_ways), Translator.load(two_ways / "run", engine="torch")
    lines, _ = job.sample(translator.model)
    assert [line.source for line in lines] == ["one", "one", "other"]
    assert lines[2].given.isascii()
    assert not lines[2].wanted.isascii()
    assert not lines[0].given.isascii()
