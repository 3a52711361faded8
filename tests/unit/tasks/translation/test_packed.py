"""A packed translator gives the translations of the run that it was packed from, and loads no PyTorch for them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.errors import ModelError, UsageError
from clearhead.tasks.packed import kept
from clearhead.tasks.translation.packed import PackedTranslator
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

pytestmark = NATIVE
TEXTS = ["我吃了一个苹果。她们在学校。", "", "两\n行", "他喝水。 "]
HEAVY = ("torch", "pydantic", "langcodes", "jaxtyping", "scipy", "pandas")


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    loaded = Translator.load(toy_run, device="cpu")
    assert loaded.writer is not loaded.model
    return loaded


@pytest.fixture(scope="module")
def packed(translator: Translator, toy_run: Path) -> PackedTranslator:
    file = kept(toy_run, "best", "float32")
    assert file is not None
    return PackedTranslator.of(file)


@pytest.mark.parametrize("options", [{}, {"beam": 1}, {"prefix": "the", "split": "never"}, {"limit": 3}])
def test_translations_are_those_of_the_run(
    options: dict[str, object], translator: Translator, packed: PackedTranslator
) -> None:
    assert packed.translate(TEXTS, **options) == translator.translate(TEXTS, **options)  # type: ignore[call-overload]
    assert packed.sides == translator.sides
    assert (packed.name, packed.step, packed.lengths) == (translator.recipe.name, translator.step, translator.lengths)


def test_phrases_and_several_translations_are_those_of_the_run(
    translator: Translator, packed: PackedTranslator
) -> None:
    for options in ({"require": ["the"]}, {"avoid": ["the"]}, {"n_best": 3}):
        assert packed.translate(TEXTS[:1], **options) == translator.translate(TEXTS[:1], **options)  # type: ignore[call-overload]


def test_wrong_arguments_give_the_lines_of_a_translator(translator: Translator, packed: PackedTranslator) -> None:
    for options in ({"beam": 0}, {"split": "words"}, {"length_penalty": "x"}, {"n_best": -1}):
        lines = []
        for each in (translator, packed):
            with pytest.raises(UsageError) as error:
                each.translate("我", **options)  # type: ignore[call-overload]
            lines.append(str(error.value))
        assert lines[0] == lines[1]
    with pytest.raises(ModelError, match="does not show attention"):
        packed.translate("我", alignment=True)


def test_a_file_of_another_kind_of_model_is_refused(toy_run: Path, packed: PackedTranslator) -> None:
    file = kept(toy_run, "best", "float32")
    assert file is not None
    with pytest.raises(ModelError, match="is a model for classify, not for translation"):
        PackedTranslator.of(replace(file, about={**file.about, "task": "classify"}))


def test_the_command_line_loads_no_pytorch_once_a_run_is_packed(toy_run: Path, packed: PackedTranslator) -> None:
    code = (
        "import sys\nfrom clearhead.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print([name for name in {HEAVY} if name in sys.modules])"
    )
    words = ["translate", str(toy_run), "我吃了一个苹果。"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [packed.translate(words[2]).text, "[]"]
    assert not done.stderr
