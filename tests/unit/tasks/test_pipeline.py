"""``clearhead.load`` and ``clearhead.pipeline``: a run by its path, in the call shape of Hugging Face."""

from pathlib import Path

import pytest

import clearhead
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.pipeline import load, pipeline


def test_a_pipeline_takes_one_text_or_several(toy_run: Path, toy_data: Path) -> None:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:2]
    expected = [one.text for one in clearhead.load(str(toy_run)).translate(lines)]
    translate = clearhead.pipeline("translation", toy_run)
    assert translate(lines) == [{"translation_text": text} for text in expected]
    assert translate(lines[0]) == [{"translation_text": expected[0]}]
    assert translate([]) == []


def test_a_checkpoint_by_name(toy_run: Path) -> None:
    assert load(toy_run, checkpoint="step-00000040").step == 40
    assert load(toy_run).step == 120


def test_what_there_is_none_for(toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="task 'summarize': must be translation"):
        pipeline.__wrapped__("summarize", toy_run) if hasattr(pipeline, "__wrapped__") else pipeline(
            "summarize", toy_run
        )
    with pytest.raises(ModelError, match="is not a run directory"):
        load(tmp_path)
