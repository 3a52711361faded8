"""The dry run's numbers: counted, not guessed; the curve of the learning rate."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearhead.config import merge, parse
from clearhead.tasks.forecast import lr_curve, try_steps
from clearhead.tasks.translation import TranslationRecipe
from clearhead.tasks.translation_job import prepare_translation
from tests.toy import RECIPE


def test_sizes_are_those_of_the_run(toy_data: Path) -> None:
    job = prepare_translation(RECIPE, "here", toy_data)
    found = try_steps(job, steps=2)
    src, tgt = job.train.lengths
    assert found.parameters == sum(parameter.numel() for parameter in job.state.model.parameters())
    longest = max(found.shapes["src_ids"][1], found.shapes["tgt_ids"][1])
    assert longest == max(int(src.max()), int(tgt.max())) + 1, "the first step is on the longest sentences"
    assert found.shapes["src_ids"][0] == found.shapes["targets"][0]
    assert 0.5 < found.padding_efficiency <= 1
    assert found.batches_per_epoch == pytest.approx((tgt + 1).sum() / 600, abs=2)
    assert found.minutes == pytest.approx(found.seconds_per_step * 120 / 60)
    assert found.tokens_per_second > 0
    assert 100 < found.peak_memory_mb < 100_000
    text = "\n".join(found.lines())
    assert f"batches: {found.batches_per_epoch:,} an epoch" in text
    assert torch.is_grad_enabled()


def test_the_curve_rises_and_falls() -> None:
    recipe = parse(TranslationRecipe, merge(RECIPE, {"optim": {"schedule": "cosine"}}), source="here")
    recipe = replace(recipe, train=replace(recipe.train, max_steps=100, warmup_steps=50, lr=0.25))
    line, peak = lr_curve(recipe, columns=20).split(" ", 1)
    assert peak == "peak 0.25"
    heights = ["▁▂▃▄▅▆▇█".index(mark) for mark in line]
    top = heights.index(7)
    assert len(heights) == 20
    assert heights[:top] == sorted(heights[:top])
    assert heights[top:] == sorted(heights[top:], reverse=True)
    assert heights[-1] == 0
    assert 7 <= top <= 10
