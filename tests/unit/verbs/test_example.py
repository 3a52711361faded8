"""Examples: the model is the run's own, rows are as wide as the widest of its text."""

from pathlib import Path

import pytest
import torch

from clearhead.config import merge
from clearhead.errors import UsageError
from clearhead.tasks.catalog import prepare_job
from clearhead.training.job import GradientJob
from clearhead.verbs.example import example_of, example_of_job
from tests.toy import CLASSIFY, LANGUAGE_MODEL, MASKED, RECIPE


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of four lines each."""
    folder = tmp_path_factory.mktemp("text")
    words = "red green blue black white pink one two three four five six".split()
    for stem, count in (("train", 40), ("valid", 10)):
        lines = [[" ".join(words[(at + line) % 12 :][:6]) + "." for line in range(4)] for at in range(count)]
        (folder / f"{stem}.txt").write_text("\n\n".join("\n".join(document) for document in lines))
    return folder


def job_of(kind: str, toy_data: Path, text: Path, labelled: Path) -> GradientJob:
    match kind:
        case "translation":
            apart = {"tokenizer": {"joint": False}, "model": {"tie": "decoder"}}
            return prepare_job(merge(RECIPE, apart), "here", toy_data)
        case "language_model":
            return prepare_job(merge(LANGUAGE_MODEL, {"data": {"packing": "isolated"}}), "here", text)
        case "masked":
            return prepare_job(MASKED, "here", text)
    return prepare_job(merge(CLASSIFY, {"start": ""}), "here", labelled)


@pytest.mark.parametrize("kind", ["translation", "language_model", "masked", "classify"])
def test_an_example_is_a_run_s_model_on_rows_as_wide_as_its_text(
    kind: str, toy_data: Path, text: Path, labelled: Path
) -> None:
    job = job_of(kind, toy_data, text, labelled)
    example = example_of_job(job)
    assert example is not None
    own = {name: tensor.shape for name, tensor in job.state.model.state_dict().items()}
    built = example.build(job.recipe)
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == own
    assert torch.isfinite(example.loss(built, 2))
    sides = ("ids", "src_ids", "tgt_ids")
    shapes = [
        getattr(batch, side).shape for batch in job.work().batches(0, 0) for side in sides if hasattr(batch, side)
    ]
    widest = max(width for _, width in shapes)
    assert example.width == widest or (kind == "masked" and widest < example.width == job.recipe.model.max_seq_len)
    largest = next(job.work().batches(0, job.first_epoch()[1]))
    sizes = [getattr(largest, side).shape.numel() for side in sides if hasattr(largest, side)]
    assert max(sizes) == max(rows * width for rows, width in shapes)


def test_what_cannot_be_forecast_is_said() -> None:
    with pytest.raises(UsageError, match="only Transformers are forecast"):
        example_of({"task": "ngram"}, "here", None)
