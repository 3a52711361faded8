"""A packed masked model says what the run says that it was packed from, and loads no PyTorch for it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.packed import PackedMaskedModel
from clearhead.tasks.packed import kept
from tests.native import NATIVE

pytestmark = NATIVE
TEXTS = ["The [MASK] is in the [MASK].", "a [MASK]", "[MASK]"]
HEAVY = ("torch", "pydantic", "langcodes", "jaxtyping", "scipy", "pandas")


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    loaded = MaskedModel.load(toy_masked_run, device="cpu")
    assert loaded._native is not None
    return loaded


@pytest.fixture(scope="module")
def packed(model: MaskedModel, toy_masked_run: Path) -> PackedMaskedModel:
    file = kept(toy_masked_run, "best", "float32")
    assert file is not None
    return PackedMaskedModel.of(file)


def test_gaps_are_those_of_the_run(model: MaskedModel, packed: PackedMaskedModel) -> None:
    assert packed.fill(TEXTS) == model.fill(TEXTS)
    assert packed.fill(TEXTS[0], top_k=2) == model.fill(TEXTS[0], top_k=2)
    assert (packed.name, packed.step, packed.longest) == (model.recipe.name, model.step, model.longest)


def test_vectors_are_those_of_the_run(model: MaskedModel, packed: PackedMaskedModel) -> None:
    assert np.array_equal(packed.embed(["", *TEXTS]), model.embed(["", *TEXTS]))
    assert (packed.embedding, packed.d_model) == (model.embedding, model.d_model)


@pytest.mark.parametrize(
    ("verb", "given", "options", "error"),
    [
        ("fill", "no gap", {}, DataError),
        ("fill", "[MASK] " * 99, {}, DataError),
        ("fill", "[MASK]", {"top_k": 0}, UsageError),
        ("fill", 7, {}, UsageError),
        ("embed", "a " * 99, {}, DataError),
        ("embed", "a", {"overlong": "cut"}, UsageError),
        ("embed", ["a", "\ud800"], {}, DataError),
    ],
)
def test_wrong_arguments_give_the_lines_of_a_run(
    verb: str,
    given: Any,
    options: dict[str, Any],
    error: type[Exception],
    model: MaskedModel,
    packed: PackedMaskedModel,
) -> None:
    lines = []
    for each in (model, packed):
        with pytest.raises(error) as told:
            getattr(each, verb)(given, **options)
        lines.append(str(told.value))
    assert lines[0] == lines[1]


def test_a_file_of_another_kind_of_model_is_refused(toy_masked_run: Path, packed: PackedMaskedModel) -> None:
    file = kept(toy_masked_run, "best", "float32")
    assert file is not None
    with pytest.raises(ModelError, match="is a model for translation, not for masked"):
        PackedMaskedModel.of(replace(file, about={**file.about, "task": "translation"}))


@pytest.mark.parametrize("verb", ["fill", "embed"])
def test_the_command_line_loads_no_pytorch_once_a_run_is_packed(
    verb: str, toy_masked_run: Path, packed: PackedMaskedModel
) -> None:
    code = (
        "import sys\nfrom clearhead.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print([name for name in {HEAVY} if name in sys.modules])"
    )
    words = [verb, str(toy_masked_run), TEXTS[1]]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    *lines, loaded = done.stdout.splitlines()
    assert (loaded, done.stderr) == ("[]", "")
    if verb == "fill":
        assert [line.split("\t")[1] for line in lines] == [each.piece for each in packed.fill(TEXTS[1]).masks[0]]
    else:
        assert [float(value) for value in lines[0].split("\t")] == pytest.approx(packed.embed(TEXTS[1]), rel=1e-5)
