"""Labels as classes: ``tests/unit/data/test_labelled.py`` reads them from files; here is what a message shows."""

from collections import Counter

import pytest

from clearhead.data.labels.classes import check_classes, check_missing, is_number, known_class, short
from clearhead.errors import DataError


def test_a_label_that_is_a_whole_text_is_shown_in_part() -> None:
    assert (short("good"), len(short("x" * 10_000))) == ("'good'", 65)
    with pytest.raises(DataError) as caught:
        known_class("x" * 10_000, ["a", "b"], "here")
    assert len(str(caught.value)) < 200


def test_numbers_are_finite() -> None:
    assert [is_number(label) for label in ("1", "-2.5e1", "nan", "inf", "1e999", "one", "")] == [True] * 2 + [False] * 5


def test_labels_that_are_all_numbers_but_one_have_a_missing_one() -> None:
    check_missing({"nan": "here"})
    check_missing({"none": "here", "1": "there", "two": "there"})
    with pytest.raises(DataError, match="here: label 'N/A' marks a missing value"):
        check_missing({"1": "there", "N/A": "here"})


def test_many_classes_are_right_where_they_have_lines() -> None:
    places = {f"class {i}": "here" for i in range(100)}
    check_classes(Counter(dict.fromkeys(places, 2)), places, "file")
    with pytest.raises(DataError, match="file: 100 different labels in 100 lines; is it the text"):
        check_classes(Counter(list(places)), places, "file")
