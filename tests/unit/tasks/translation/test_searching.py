"""One native call and the steps find the same translations, and what the call does not know goes by steps."""

from pathlib import Path

import pytest
import torch

from clearhead.decode.search import Hypothesis, SearchConfig
from clearhead.engine.rows import NativeModel
from clearhead.tasks.translation import searching
from clearhead.tasks.translation.searching import Batch, search_batch, translation_of
from clearhead.tasks.translation.translator import Translator
from clearhead.text.phrase_book import Demand, PhraseBook
from tests.native import NATIVE

pytestmark = NATIVE
CALLS = ("native_search", "beam_search")


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


def test_translations_are_those_of_pytorch(translator: Translator, toy_run: Path, toy_data: Path) -> None:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:6]
    eager = Translator.load(toy_run, device="cpu", engine="torch")
    assert isinstance(translator.writer, NativeModel)
    assert not isinstance(eager.writer, NativeModel)
    for beam in (1, 3):
        found, expected = (each.translate(lines, beam=beam, prefix="the") for each in (translator, eager))
        for one, other in zip(found, expected, strict=True):
            assert (one.text, one.pieces, one.complete) == (other.text, other.pieces, other.complete)
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_only_what_the_call_knows_goes_to_it(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in CALLS:
        whole = getattr(searching, name)
        monkeypatch.setattr(
            searching, name, lambda *a, name=name, whole=whole, **k: called.append(name) or whole(*a, **k)
        )
    source, phrases = translator.tokenizers.src.encode("我"), PhraseBook(translator.tokenizers.tgt)
    asked = phrases.demands([], ["school"], count=1, prefix="", room=20)
    plain = Batch([source], [[]], [Demand()], [9])
    for batch, config, expected in (
        (plain, SearchConfig(beam=2), "native_search"),
        (plain, SearchConfig(beam=2, n_best=2), "native_search"),
        (Batch([source], [[]], asked, [9]), SearchConfig(beam=2), "beam_search"),
    ):
        search_batch(
            translator.writer,
            batch,
            config,
            tokenizer=translator.tokenizers.tgt,
            text_of=str,
            device=torch.device("cpu"),
        )
        assert called.pop() == expected
    assert not called


def test_int8_translates_nearly_the_same(translator: Translator, toy_run: Path) -> None:
    rounded = Translator.load(toy_run, device="cpu", weights="int8")
    assert isinstance(rounded.writer, NativeModel)
    one, other = rounded.translate("她们在学校。"), translator.translate("她们在学校。")
    assert one.text
    assert one.score != other.score
    assert rounded.translate("她们在学校。") == one


def test_a_translation_says_what_was_found(translator: Translator) -> None:
    eos, source = translator.tokenizers.tgt.ids.eos, translator.tokenizers.src.encode("我")
    hypothesis = Hypothesis([5, 6], [-0.5, -0.25, -0.125], -0.875, -0.8, complete=True)
    found = translation_of(hypothesis, source, tokenizers=translator.tokenizers, text="words")
    assert (found.text, found.target_ids, found.score) == ("words", [5, 6, eos], -0.875)
    assert (len(found.pieces), len(found.source_pieces)) == (3, len(source) + 1)
