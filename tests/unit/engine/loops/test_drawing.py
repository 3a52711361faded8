"""What is drawn for a source follows from the source, its settings and its numbers, whatever is drawn beside it."""

from dataclasses import replace

import pytest

from clearhead.engine.loops.drawing import PART, Draw, draw_translations
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.search import NativeSearch, translate
from clearhead.errors import ModelError
from tests.native import NATIVE, native
from tests.small import random_rows, small

pytestmark = NATIVE


def settings(limit: int, **config: float) -> SamplerSettings:
    return SamplerSettings(SamplingConfig(seed=7, **config), 2, (0, 1, 3), limit=limit)  # type: ignore[arg-type]


def draws(count: int = 14) -> list[Draw]:
    long, short = settings(12, temperature=1.5), settings(4, temperature=1.5)
    rows = random_rows([1 + number % 5 for number in range(count)], seed=3)
    return [Draw([*row, 2], short if number % 3 else long, number) for number, row in enumerate(rows)]


def test_a_translation_is_the_same_alone_and_in_company() -> None:
    model = native(small())
    together = draw_translations(model, draws(), bos_id=1)
    assert len({tuple(text.ids) for text in together}) > 8
    for options in ({"threads": 3}, {"rows": 4}, {"rows": 2, "threads": 2}, {"rows": 1}):
        assert draw_translations(model, draws(), bos_id=1, **options) == together
    for draw, text in zip(draws(), together, strict=True):
        assert draw_translations(model, [draw], bos_id=1) == [text]
        assert (text.reason == "end") == (text.ids[-1] == 2)
        assert len(text.ids) <= draw.settings.limit
        assert text.reason == "end" or len(text.ids) == draw.settings.limit
        assert not {0, 1, 3} & set(text.ids)


def test_numbers_decide() -> None:
    model, (first, *_) = native(small()), draws()
    others = [first, replace(first, sample=99), replace(first, part=1)]
    texts = [tuple(text.ids) for text in draw_translations(model, others, bos_id=1)]
    assert len(set(texts)) == 3
    far = replace(first, part=1 << 20)  # its positions are beyond 32 bits
    assert far.part << PART > 1 << 50
    assert draw_translations(model, [far], bos_id=1) != draw_translations(model, [first], bos_id=1)


def test_the_coldest_is_the_greedy_search() -> None:
    model, sources = native(small()), [[*row, 2] for row in random_rows([3, 5, 1], seed=5)]
    cold = settings(9, temperature=0.0)
    drawn = draw_translations(model, [Draw(source, cold, 0) for source in sources], bos_id=1)
    found = translate(model, sources, NativeSearch(1, 2, forbidden=(0, 1, 3)), limits=[9] * 3)
    for text, (hypothesis,) in zip(drawn, found, strict=True):
        assert text.ids == hypothesis.ids + [2] * hypothesis.complete
        assert text.log_probs == pytest.approx(hypothesis.log_probs, abs=1e-5)


def test_what_is_no_piece_is_told() -> None:
    with pytest.raises(ModelError, match="piece"):
        draw_translations(native(small()), [Draw([10_000, 2], settings(3), 0)], bos_id=1)
    assert draw_translations(native(small()), [], bos_id=1) == []
