"""The tables ``train`` and ``validation``: which values they accept."""

import pytest

from clearhead.config import parse
from clearhead.errors import UsageError
from clearhead.training.config import TrainConfig, ValidationConfig


def test_values_are_taken_and_the_rest_has_its_default() -> None:
    config = parse(TrainConfig, {"max_steps": 7, "lr": 1}, source="here")
    assert (config.max_steps, config.lr, config.grad_accum_steps) == (7, 1.0, 1)


@pytest.mark.parametrize(
    ("cls", "key", "value"),
    [
        (TrainConfig, "max_steps", -1),
        (TrainConfig, "batch_tokens", -1),
        (TrainConfig, "lr", 0.0),
        (TrainConfig, "max_minutes", -1.0),
        (TrainConfig, "seed", -1),
        (TrainConfig, "keep_last", 0),
        (TrainConfig, "max_steps", 1.5),
        (TrainConfig, "precision", "float8"),
        (TrainConfig, "max_skipped_steps", 0),
        (ValidationConfig, "monitor", "blue"),
        (ValidationConfig, "patience", -1),
    ],
)
def test_values_out_of_range_are_refused_by_name(cls: type, key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"^here: {key} = {value!r}: "):
        parse(cls, {key: value}, source="here")


def test_a_run_has_an_end() -> None:
    assert parse(TrainConfig, {"max_steps": 0, "max_minutes": 1.5}, source="here").max_minutes == 1.5
    with pytest.raises(UsageError, match=r"^here: train.max_steps = 0: leaves the length of the run to train.max_min"):
        parse(TrainConfig, {"max_steps": 0}, source="here")
