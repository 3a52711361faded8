"""One native call and the steps find the same translations."""

from pathlib import Path

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.packing import Weights
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

pytestmark = NATIVE


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


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
def test_other_weights_translate_nearly_the_same(weights: Weights, translator: Translator, toy_run: Path) -> None:
    rounded = Translator.load(toy_run, device="cpu", weights=weights)
    assert isinstance(rounded.writer, NativeModel)
    one, other = rounded.translate("她们在学校。"), translator.translate("她们在学校。")
    assert one.text
    assert one.score != other.score
    assert rounded.translate("她们在学校。") == one
