"""A packed classifier says what the run says that it was packed from, and loads no PyTorch for it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.packed import PackedClassifier
from clearhead.tasks.packed import kept
from tests.native import NATIVE
from tests.toy import labelled_lines

pytestmark = NATIVE
TEXTS = [line.split("\t")[1] for line in labelled_lines(20)]
HEAVY = ("torch", "pydantic", "langcodes", "jaxtyping", "scipy", "pandas")


def both(run: Path) -> tuple[Classifier, PackedClassifier]:
    classifier = Classifier.load(run, device="cpu")
    assert classifier._native is not None
    file = kept(run, "best", "float32")
    assert file is not None
    return classifier, PackedClassifier.of(file)


def test_classes_are_those_of_the_run(toy_classifier: Path) -> None:
    classifier, packed = both(toy_classifier)
    given = [*TEXTS, "great " * 30]
    assert packed.classify(given) == classifier.classify(given)
    assert packed.classify(TEXTS[0]) == classifier.classify(TEXTS[0])
    assert (packed.name, packed.step, packed.labels) == (classifier.recipe.name, classifier.step, classifier.labels)
    assert packed._reading == classifier._reading


def test_classes_of_pairs_are_those_of_the_run(toy_pair_classifier: Path) -> None:
    classifier, packed = both(toy_pair_classifier)
    given = [(text, other) for text, other in zip(TEXTS, reversed(TEXTS), strict=True)]
    assert packed.classify(given) == classifier.classify(given)


def test_wrong_arguments_give_the_lines_of_a_run(toy_classifier: Path) -> None:
    given: list[tuple[Any, type[Exception]]] = [
        ("", DataError),
        (("a", "b"), DataError),
        ("\ud800", DataError),
        (7, UsageError),
    ]
    for text, error in given:
        lines = []
        for each in both(toy_classifier):
            with pytest.raises(error) as told:
                each.classify(text)
            lines.append(str(told.value))
        assert lines[0] == lines[1]


def test_a_text_that_cannot_be_classified_leaves_the_others(toy_classifier: Path) -> None:
    classifier, packed = both(toy_classifier)
    told: list[list[tuple[int, str]]] = []
    labels = []
    for each in (classifier, packed):
        told.append([])
        judged = each.classify(
            [TEXTS[0], "", "\ud800", TEXTS[1]], on_error=lambda number, error: told[-1].append((number, str(error)))
        )
        labels.append([one.label for one in judged])
    assert labels[0] == labels[1]
    assert [number for number, _ in told[0]] == [1, 2]
    assert told[0] == told[1]


def test_a_file_of_another_kind_of_model_is_refused(toy_classifier: Path) -> None:
    both(toy_classifier)
    file = kept(toy_classifier, "best", "float32")
    assert file is not None
    with pytest.raises(ModelError, match="is a model for masked, not for classify"):
        PackedClassifier.of(replace(file, about={**file.about, "task": "masked"}))


def test_the_command_line_loads_no_pytorch_once_a_run_is_packed(toy_classifier: Path) -> None:
    _, packed = both(toy_classifier)
    code = (
        "import sys\nfrom clearhead.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print([name for name in {HEAVY} if name in sys.modules])"
    )
    words = ["classify", str(toy_classifier), TEXTS[0]]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    judged = packed.classify(TEXTS[0])
    assert done.stdout.splitlines() == [f"{judged.label}\t{judged.score:.4f}", "[]"]
    assert not done.stderr
