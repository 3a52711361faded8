"""Samples as text: one line each however long or odd, a table that Markdown takes, their history for the card."""

import json
from dataclasses import asdict

import pytest
from rich.cells import cell_len

from clearhead.training.events import Sampled, SampledLine
from clearhead.training.samples.shown import (
    MOST_TIMES,
    NOTHING,
    heads,
    history,
    is_sampled,
    markdown,
    on_one_line,
    read_sampled,
    tells,
)

ODD = "a\tb\r\n\x1b[31m|c*"


def sampled(step: int, made: str, score: float | None = 12.3, wanted: str = "W") -> Sampled:
    scores = {} if score is None else {"chrf": score}
    return Sampled(
        step, (SampledLine("G", wanted, made, score), SampledLine("H", "X", "same", score, "web")), scores, 0.5
    )


def record(event: Sampled) -> dict[str, object]:
    tree: dict[str, object] = json.loads(json.dumps({"event": "sampled", **asdict(event)}))
    return tree


def test_a_text_is_one_line_that_a_terminal_does_not_obey() -> None:
    assert on_one_line(ODD) == "a⇥b↵↵␛[31m|c*"
    assert on_one_line("  ") == on_one_line("") == NOTHING


@pytest.mark.parametrize("width", [2, 7, 8, 9, 40])
def test_a_text_fits_its_columns(width: int) -> None:
    for text in ("a long line of words", "一行很长的中文文字和字", "short", "短"):
        shown = on_one_line(text, width)
        assert cell_len(shown) <= width
        assert (shown == text) == (cell_len(text) <= width)


def test_lines_of_a_terminal() -> None:
    event = sampled(5, "made\nof it")
    assert heads(event) == ["  1  G -> W", "  2  web: H -> X"]
    assert tells(event) == ["  1  chrF  12  made↵of it", "  2  chrF  12  same"]
    assert tells(event, numbered=False)[0] == "     chrF  12  made↵of it"
    assert tells(sampled(5, "x", None)) == ["  1  x", "  2  same"]
    right = Sampled(1, (SampledLine("G", "W", "M", 0.5),), {"right": 0.5}, 0.1)
    assert tells(right) == ["  1   50%  M"]
    long = Sampled(1, (SampledLine("g " * 90, "w " * 90, "中文" * 90, 1.0),), {"chrf": 1.0}, 0.1)
    assert all(cell_len(line) <= 80 for line in [*heads(long, 80), *tells(long, 80)])


def test_a_table_has_a_row_for_each_line_whatever_is_in_it() -> None:
    event = Sampled(1, (SampledLine(ODD, "w", "m|\nn", 50.0),), {"chrf": 50.0}, 0.1)
    head, rule, row = markdown(event).split("\n")
    assert head == "|  | given | wanted | made | score |"
    assert rule == "| --- | --- | --- | --- | --- |"
    assert row == "| 1 | a⇥b↵↵␛\\[31m\\|c\\* | w | m\\|↵n | chrF  50 |"


def test_history_keeps_changes_with_the_first_and_the_last() -> None:
    assert history([{"event": "stepped", "step": 1}]) == []
    lines = history([record(sampled(10, "a")), record(sampled(20, "a")), record(sampled(1300, "b"))])
    assert lines == [
        "1  G", "   = W", "       10  chrF  12  a", "    1,300  chrF  12  b",
        "2  web: H", "   = X", "       10  chrF  12  same", "    1,300  chrF  12  same",
    ]  # fmt: skip
    many = history([record(sampled(step, f"text {step}")) for step in range(1, 100)])
    own = many[2 : many.index("2  web: H")]
    assert len(own) == MOST_TIMES
    assert (own[0].split()[0], own[-1].split()[0]) == ("1", "99")


def test_history_is_of_the_lines_that_were_sampled_last() -> None:
    lines = history([record(sampled(1, "old", wanted="other")), record(sampled(2, "new"))])
    assert not [line for line in lines if "old" in line]


def test_a_record_is_the_event_again_and_what_is_no_record_is_told() -> None:
    event, tree = sampled(5, "made"), record(sampled(5, "made"))
    assert read_sampled(tree) == event
    assert is_sampled(tree)
    for key, value in (("lines", None), ("lines", [{}]), ("lines", [{**tree["lines"][0], "made": 3}]), ("scores", 2)):  # type: ignore[index]
        assert not is_sampled({**tree, key: value})
    assert not is_sampled({**tree, "lines": [{**tree["lines"][0], "score": "x"}]})  # type: ignore[index]
