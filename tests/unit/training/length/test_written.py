"""A budget on the command line: which times are read, what it changes in a recipe."""

import pytest

from clearhead.errors import UsageError
from clearhead.training.length.written import minutes_of, with_budget


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("20m", 20), ("1h30m", 90), ("90s", 1.5), ("1H", 60), ("1.5h", 90), ("1h 5m 30s", 65.5), ("0.5m", 0.5)],
)
def test_times_are_read(text: str, minutes: float) -> None:
    assert minutes_of(text) == pytest.approx(minutes)


@pytest.mark.parametrize("text", ["", "20", "m", "20 minutes", "-5m", "30m1h", "1d", "nan", "2mm", "５m"])
def test_what_is_no_time_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--budget '.*': expected a time such as 20m, 1h30m or 90s$"):
        minutes_of(text)


@pytest.mark.parametrize("text", ["0m", "0h0s", "1000000h", "9" * 400 + "s"])
def test_no_time_and_too_much_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be more than 0, and at most 10,000,000 minutes"):
        minutes_of(text)


def test_a_budget_lifts_the_steps_unless_they_are_set_too() -> None:
    assert with_budget(["src=zh"], "90s") == ["src=zh", "train.max_minutes=1.5", "train.max_steps=0"]
    assert with_budget(["train.max_steps=70"], "1m") == ["train.max_steps=70", "train.max_minutes=1.0"]
    with pytest.raises(UsageError, match=r"^--budget, --set train.max_minutes: are the same"):
        with_budget(["train.max_minutes=3"], "1m")
