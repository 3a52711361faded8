"""Which sources are decoded together: none whose result would depend on another."""

from pathlib import Path

from clearhead.tasks.translation.search.batches import NATIVE_TOKENS, batches_to_decode
from clearhead.tasks.translation.translator import Translator
from clearhead.text.phrase_book import Demand


def test_sources_of_like_length_go_together_and_empty_ones_nowhere() -> None:
    batches = list(batches_to_decode([[5] * 2000, [5], [], [5] * 2000, [5, 5]], [Demand()] * 5, 1))
    assert sorted(row for rows, _ in batches for row in rows) == [0, 1, 3, 4]
    assert all(beam == 1 for _, beam in batches)
    assert [4, 1] in [rows for rows, _ in batches] or [1, 4] in [rows for rows, _ in batches]


def test_the_beam_is_wider_by_the_pieces_of_phrases_and_each_width_is_a_batch_of_its_own(
    toy_run: Path,
) -> None:
    demands = Translator.load(toy_run)._phrases.demands(
        [[], ["the"], [], ["the", "yes"], ["the"]], (), count=5, prefix="", room=60
    )
    count = demands[3].pieces
    assert 1 == demands[1].pieces < count
    batches = list(batches_to_decode([[5], [5, 6], [], [5], [5]], demands, 2))
    assert batches == [([0], 2), ([1, 4], 3), ([3], 2 + count)]


def test_the_engine_has_as_many_sources_at_once_with_phrases(toy_run: Path) -> None:
    demands = Translator.load(toy_run)._phrases.demands("the", (), count=40, prefix="", room=60)
    sources = [[5] * 100] * len(demands)
    assert len(list(batches_to_decode(sources, demands, 1))) == 2
    assert len(list(batches_to_decode(sources, demands, 1, tokens=NATIVE_TOKENS))) == 1
