"""What a native search finds becomes a translation."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.tasks.translation.search.native import Batch, Searching, carried_out, translation_of
from clearhead.tasks.translation.translator import Translator
from clearhead.text.phrase_book import Demand


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


def test_a_translation_says_what_was_found(translator: Translator) -> None:
    eos, source = translator.tokenizers.tgt.ids.eos, translator.tokenizers.src.encode("我")
    hypothesis = Hypothesis([5, 6], [-0.5, -0.25, -0.125], -0.875, -0.8, complete=True)
    found = translation_of(hypothesis, source, tokenizers=translator.tokenizers, text="words", before=1)
    assert (found.text, found.target_ids, found.score, found.before) == ("words", [5, 6, eos], -0.875, 1)
    assert (len(found.pieces), len(found.source_pieces)) == (3, len(source) + 1)


def batch_of(piece: int) -> Batch:
    return Batch([[piece]], [[]], [Demand()], [3])


def test_searches_are_carried_out_one_after_another_and_a_batch_made_when_its_turn_comes() -> None:
    happened: list[tuple[str, int]] = []

    def made(piece: int) -> tuple[Batch, SearchConfig]:
        happened.append(("made", piece))
        return batch_of(piece), SearchConfig(2)

    def searching() -> Searching[Any]:
        first = yield (made(piece) for piece in (5, 6))
        return first + (yield [made(7)])

    def search(batch: Batch, config: SearchConfig) -> list[list[Hypothesis]]:
        happened.append(("searched", batch.sources[0][0]))
        return [[Hypothesis(batch.sources[0], [], 0.0, 0.0, complete=True)]]

    found = carried_out(searching(), search)
    assert [ranked[0].ids for each in found for ranked in each] == [[5], [6], [7]]
    assert happened == [(what, piece) for piece in (5, 6, 7) for what in ("made", "searched")]


def test_texts_with_other_phrases_are_searched_for_at_once(translator: Translator) -> None:
    texts: list[str] = ["我", "她", "", "我"]
    searching = translator.translating(texts, SearchConfig(2), require=[["the"], [], ["the"], ["the", "yes"]])
    rows = [list(batch.rows) for batch, _ in next(searching)]
    assert sorted(row for each in rows for row in each) == [0, 1, 2]
    assert len(rows) == 3
    assert list(translator.translating(["", " "], SearchConfig(2))) == [], "there is nothing to search for"
