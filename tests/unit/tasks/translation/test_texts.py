"""What decodes a batch is one native call, or steps where that does not know all that is asked for."""

from pathlib import Path

import pytest

from clearhead.decode.hypotheses import SearchConfig
from clearhead.tasks.translation import texts
from clearhead.tasks.translation.search import searching
from clearhead.tasks.translation.search.native import Batch
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
