"""Sides: what stands before the text itself is found again in the pieces of a source."""

from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.text.language import read_language

LANGUAGES = read_language("zh"), read_language("en")


def test_what_stands_before_a_text_is_found_in_its_pieces() -> None:
    plain, tagged = Sides(*LANGUAGES, 60, 64), Sides(*LANGUAGES, 60, 64, 5)
    reading, both = Sides(*LANGUAGES, 60, 64, context=9), Sides(*LANGUAGES, 60, 64, 5, 9)
    assert [each.reads_context for each in (plain, tagged, reading, both)] == [False, False, True, True]
    assert [each.lead for each in (plain, tagged, reading, both)] == [[], [5], [], [5]]
    assert (plain.before([20, 21]), plain.alone([20, 21])) == (0, [20, 21])
    assert (tagged.before([5, 20, 21]), tagged.alone([5, 20, 21])) == (1, [5, 20, 21])
    assert (reading.before([30, 9, 20, 21]), reading.alone([30, 9, 20, 21])) == (2, [20, 21])
    assert (reading.before([20, 21]), reading.alone([20, 21])) == (0, [20, 21])
    assert (both.before([5, 30, 31, 9, 20]), both.alone([5, 30, 31, 9, 20])) == (4, [5, 20])
    assert (both.before([5, 20]), both.alone([5, 20])) == (1, [5, 20])
    assert (both.before([]), both.alone([])) == (0, [])
