"""Which direction is meant: one, none or several; and what is told of languages that a translator does not know."""

import logging

import pytest

from clearhead.errors import UsageError
from clearhead.tasks.translation.corpora.directions import described, meant
from clearhead.tasks.translation.parts import Sides
from clearhead.text.language import read_language


def way(src: str, tgt: str, tag: int) -> Sides:
    return Sides(read_language(src), read_language(tgt), 60, 64, tag)


WAYS = [way("en", "de", 4), way("zh", "en", 5), way("de", "en", 5)]


@pytest.mark.parametrize(
    ("to", "source", "expected"),
    [("de", "", 0), ("DE", "en", 0), ("en", "zh_Hans", 1), ("", "zh", 1), ("eng", "deu", 2)],
)
def test_a_direction_is_found_by_any_code(to: str, source: str, expected: int) -> None:
    assert meant(WAYS, to, source) is WAYS[expected]


@pytest.mark.parametrize(
    ("to", "source", "said"),
    [
        ("", "", "to: the model translates en to de, zh to en, de to en; say which"),
        ("en", "", "from: the model translates en to de, zh to en, de to en; say which"),
        ("fr", "", "to = 'fr': the model translates into de, en"),
        ("de", "fr", "from = 'fr': the model translates from en, zh, de"),
    ],
)
def test_what_is_not_known_is_told_in_one_line(to: str, source: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        meant(WAYS, to, source)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_a_direction_that_was_in_no_text_is_told_and_taken(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = meant(WAYS, "de", "zh")
    assert (found.src.code, found.tgt.code, found.tag) == ("zh", "de", 4)
    assert caplog.messages == [f"zh to de: the model has seen no such pair, only {described(WAYS)}; expect little"]


def test_the_only_direction_need_not_be_named() -> None:
    assert meant(WAYS[:1]) is WAYS[0]
    assert WAYS[0].lead == [4]
    assert way("zh", "en", -1).lead == []
