"""A packed language model writes what the run that it was packed from writes, and loads no PyTorch for it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.packed import PackedLanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.packed import kept
from tests.native import NATIVE

pytestmark = NATIVE
PROMPTS = ["我", "", "他们在学校", "She ", "我昨天没买书。 I didn't buy any books yesterday. 你"]
HEAVY = ("torch", "pydantic", "langcodes", "jaxtyping", "scipy", "pandas")
GREEDY, WARM = SamplingConfig(temperature=0.0), SamplingConfig(0.9, top_p=0.9, repetition_penalty=1.1, seed=3)
RUN_PROMPT = "我妹妹"


@pytest.fixture(scope="module")
def model(toy_lm_run: Path) -> LanguageModel:
    loaded = LanguageModel.load(toy_lm_run, device="cpu")
    assert loaded._native is not None
    return loaded


@pytest.fixture(scope="module")
def packed(model: LanguageModel, toy_lm_run: Path) -> PackedLanguageModel:
    file = kept(toy_lm_run, "best", "float32")
    assert file is not None
    return PackedLanguageModel.of(file)


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
@pytest.mark.parametrize(
    "settings",
    [{"max_new": 70}, {"n": 3, "min_length": 5}, {"stop": ("。", "oo"), "bad_words": ("My", "自行车")}],
    ids=str,
)
def test_texts_are_those_of_the_run(
    settings: dict[str, Any], sampling: SamplingConfig, model: LanguageModel, packed: PackedLanguageModel
) -> None:
    """Beyond the context of 48 pieces too, where windows slide; parts come as they are written."""
    parts: list[list[tuple[int, str]]] = [[], []]
    config = GenerationConfig(**{"max_new": 20, **settings})
    texts = [
        each.generate(PROMPTS, config, sampling=sampling, on_text=lambda *part, own=own: own.append(part))  # type: ignore[misc]
        for each, own in zip((model, packed), parts, strict=True)
    ]
    assert texts[0] == texts[1]
    assert parts[0] == parts[1]
    assert (packed.context, packed.marks, packed.step) == (model.context, model.marks, model.step)
    assert (packed.name, packed.computed) == (model.recipe.name, "native")


def test_a_search_finds_the_same(model: LanguageModel, packed: PackedLanguageModel) -> None:
    config, sampling = GenerationConfig(max_new=12, beam=3, n=2), SamplingConfig(no_repeat_ngram=3)
    assert packed.generate(PROMPTS, config, sampling=sampling) == model.generate(PROMPTS, config, sampling=sampling)


def test_a_text_has_the_same_probability(model: LanguageModel, packed: PackedLanguageModel) -> None:
    for text in ("", "我", " ".join(PROMPTS) * 3):
        assert packed.log_probs(text) == pytest.approx(model.log_probs(text), abs=1e-4)


def test_it_takes_a_draft_and_is_one(model: LanguageModel, packed: PackedLanguageModel) -> None:
    config = GenerationConfig(max_new=9)
    (expected,) = model.generate(PROMPTS[:1], config, sampling=GREEDY)
    for one, other in ((packed, model), (model, packed)):
        (found,) = one.generate(PROMPTS[:1], config, sampling=GREEDY, draft=other)
        assert (found.ids, found.accepted) == (expected.ids, 1.0)


def test_wrong_arguments_give_the_lines_of_a_language_model(model: LanguageModel, packed: PackedLanguageModel) -> None:
    wrong: list[tuple[Any, dict[str, Any], type[Exception]]] = [
        (["x"], {"config": GenerationConfig(max_new=0)}, UsageError),
        (["x"], {"config": GenerationConfig(stop=("\udcff",))}, UsageError),
        (["x"], {"config": GenerationConfig(beam=2, stop=(".",))}, UsageError),
        (["x"], {"sampling": SamplingConfig(temperature=-1.0)}, UsageError),
        (["x"], {"draft": "x"}, UsageError),
        (["x"], {"temperatures": 1}, UsageError),
        ("x", {"config": GenerationConfig(n=2)}, UsageError),
        (3, {}, UsageError),
        (["我"], {"config": GenerationConfig(max_new=48, overlong="error")}, DataError),
        (["\udcff"], {}, DataError),
    ]
    for prompts, arguments, kind in wrong:
        lines = []
        for each in (model, packed):
            with pytest.raises(kind) as error:
                each.generate(prompts, **arguments)
            lines.append(str(error.value))
        assert lines[0] == lines[1]


def test_a_file_of_another_kind_of_model_is_refused(toy_lm_run: Path, packed: PackedLanguageModel) -> None:
    file = kept(toy_lm_run, "best", "float32")
    assert file is not None
    with pytest.raises(ModelError, match="is a model for classify, not for language_model"):
        PackedLanguageModel.of(replace(file, about={**file.about, "task": "classify"}))


@pytest.mark.parametrize("options", [[], ["--n", "2", "--beam", "3"], ["--temperature", "0", "--stop", "。", "--json"]])
def test_the_command_line_loads_no_pytorch_once_a_run_is_packed(
    options: list[str], toy_lm_run: Path, packed: PackedLanguageModel
) -> None:
    code = (
        "import sys\nfrom clearhead.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print([name for name in {HEAVY} if name in sys.modules])"
    )
    words = ["generate", str(toy_lm_run), RUN_PROMPT, "--max-new", "9", *options]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert len(lines) == (2 if "--n" in options else 1)
    assert all(RUN_PROMPT in line for line in lines)
    if not options:
        assert lines == [RUN_PROMPT + packed.generate(RUN_PROMPT, GenerationConfig(max_new=9)).text]
