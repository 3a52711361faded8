"""What runs and packed models of every family say of the engine that computes for them."""

from pathlib import Path

import pytest

from clearhead.engine.threads import threads
from clearhead.errors import ModelError
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.packed import PackedClassifier
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.packed import PackedLanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.packed import PackedMaskedModel
from clearhead.tasks.native import NativeUser, PackedModel
from clearhead.tasks.packed import kept
from clearhead.tasks.translation.packed import PackedTranslator
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

pytestmark = NATIVE
FAMILIES = {
    "toy_run": (Translator, PackedTranslator),
    "toy_lm_run": (LanguageModel, PackedLanguageModel),
    "toy_masked_run": (MaskedModel, PackedMaskedModel),
    "toy_classifier": (Classifier, PackedClassifier),
}


@pytest.mark.parametrize("run", FAMILIES)
def test_every_family_says_which_engine_computes(run: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(run)
    loads = FAMILIES[run][0].load
    eager, native = loads(path, device="cpu", engine="torch"), loads(path, device="cpu", engine="native")
    assert isinstance(eager, NativeUser)
    assert isinstance(native, NativeUser)
    assert (eager.computed, native.computed) == ("torch", "native")


@pytest.mark.parametrize("run", FAMILIES)
def test_a_packed_model_names_its_run(run: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(run)
    whole, small = FAMILIES[run]
    loaded = whole.load(path, device="cpu", engine="native")
    assert loaded.computed == "native"  # which has packed it
    file = kept(path, "best", "float32")
    assert file is not None
    packed = small.of(file)
    assert isinstance(packed, PackedModel)
    assert (packed.name, packed.step, packed.computed) == (loaded.recipe.name, loaded.step, "native")
    assert packed.threads == threads()
    assert packed.device.type == "cpu"
    assert "\n" not in repr(packed)
    for _, other in FAMILIES.values():
        if other is not small:
            with pytest.raises(ModelError, match=f"is a model for {packed.task}, not for {other.task}"):
                other.of(file)
