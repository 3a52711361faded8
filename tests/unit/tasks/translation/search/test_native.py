"""What one call of the native engine does not know goes by steps; what is found becomes a translation."""

from pathlib import Path

import pytest

from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.tasks.translation import texts
from clearhead.tasks.translation.search import searching
from clearhead.tasks.translation.search.native import Batch, translation_of
from clearhead.tasks.translation.translator import Translator
from clearhead.text.phrase_book import Demand, PhraseBook
from tests.native import NATIVE


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


@NATIVE
def test_only_what_the_call_knows_goes_to_it(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for module, name in ((texts, "search_natively"), (searching, "search_batch")):
        whole = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, whole=whole, **k: called.append(name) or whole(*a, **k))
    source, phrases = translator.tokenizers.src.encode("我"), PhraseBook(translator.tokenizers.tgt)
    asked = phrases.demands([], ["school"], count=1, prefix="", room=20)
    plain = Batch([source], [[]], [Demand()], [9])
    for batch, config, expected in (
        (plain, SearchConfig(beam=2), "search_natively"),
        (plain, SearchConfig(beam=2, n_best=2), "search_natively"),
        (Batch([source], [[]], asked, [9]), SearchConfig(beam=2), "search_batch"),
    ):
        assert len(translator._search(batch, config)) == 1
        assert called.pop() == expected
    assert not called


def test_a_translation_says_what_was_found(translator: Translator) -> None:
    eos, source = translator.tokenizers.tgt.ids.eos, translator.tokenizers.src.encode("我")
    hypothesis = Hypothesis([5, 6], [-0.5, -0.25, -0.125], -0.875, -0.8, complete=True)
    found = translation_of(hypothesis, source, tokenizers=translator.tokenizers, text="words")
    assert (found.text, found.target_ids, found.score) == ("words", [5, 6, eos], -0.875)
    assert (len(found.pieces), len(found.source_pieces)) == (3, len(source) + 1)
