"""What a native search finds becomes a translation."""

from pathlib import Path

import pytest

from clearhead.decode.hypotheses import Hypothesis
from clearhead.tasks.translation.search.native import translation_of
from clearhead.tasks.translation.translator import Translator


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


def test_a_translation_says_what_was_found(translator: Translator) -> None:
    eos, source = translator.tokenizers.tgt.ids.eos, translator.tokenizers.src.encode("我")
    hypothesis = Hypothesis([5, 6], [-0.5, -0.25, -0.125], -0.875, -0.8, complete=True)
    found = translation_of(hypothesis, source, tokenizers=translator.tokenizers, text="words", before=1)
    assert (found.text, found.target_ids, found.score, found.before) == ("words", [5, 6, eos], -0.875, 1)
    assert (len(found.pieces), len(found.source_pieces)) == (3, len(source) + 1)
