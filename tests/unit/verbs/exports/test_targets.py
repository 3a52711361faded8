"""Where runs can be exported to: what is listed before training is what export does, for every preset."""

import re
from pathlib import Path
from typing import Any

import pytest

from clearhead.checkpoint import Checkpoint, model_tensors, save_checkpoint
from clearhead.config import as_tree, merge
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError
from clearhead.export.file import NAME
from clearhead.runs.directory import create_run
from clearhead.runs.opened import SavedRun
from clearhead.runs.pointers import point_to
from clearhead.runs.recipes import preset_names, read_recipe, refusal_lines, save_recipe
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.catalog import family_of_recipe, family_of_run
from clearhead.tasks.family import LearnedFamily
from clearhead.text.tokenizer import Tokenizer
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.exports.targets import TARGETS, check_target, refusals, refusals_of
from tests import toy

SIZES = {"d_model": 32, "d_ff": 48, "n_heads": 4, "n_layers": 1, "n_encoder_layers": 1, "n_decoder_layers": 1}
UNCOMPARED = Certify(lines=0)
LINES = ["the cat sat on the mat", "a dog ran home, and a cat did not"] * 3


def untrained(folder: Path, name: str) -> Path:
    """Writes a run of a preset's shape, but small and without any training."""
    tree = read_recipe(name)
    family = family_of_recipe(tree, name)
    assert isinstance(family, LearnedFamily)
    small: dict[str, Any] = {key: size for key, size in SIZES.items() if key in tree.get("model", SIZES)}
    tree = merge(tree, {"model": small, "tokenizer": {"vocab_size": 300}})
    recipe: Any = family.sketch(tree, name)
    source = Tokenizer.train(LINES, recipe.tokenizer)
    target = source if recipe.tokenizer.joint else Tokenizer.train(LINES[::2], recipe.tokenizer)
    labels = Labels(("bad", "good"), pairs=False) if recipe.task == "classify" else None
    parts = TextParts(source, target if family.verb == "translate" else None, labels)
    run = create_run(folder)
    save_recipe(run, as_tree(recipe), parts.contents())
    parts.save(run)
    checkpoint = run / "checkpoints" / "step-00000000"
    model = family.build(recipe, parts.sizes)
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(model)}, {"step": 0}))
    point_to(run, "latest", checkpoint)
    return run


def test_ngrams_beside_an_encoder_leave_for_onnx_alone() -> None:
    listed = refusals_of(merge(read_recipe("classify-scratch"), {"finetune": {"ngrams": 3}}), "here")
    assert listed is not None
    allowed = [target for target, reason in listed.items() if reason is None]
    assert allowed == ["onnx"]
    assert listed["file"] == "finetune.ngrams = 3: of all formats only --to onnx keeps it"


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("name", preset_names())
def test_what_is_listed_is_what_export_does(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    counted = name == "ngram"
    run = request.getfixturevalue("toy_baselines")["ngram"] if counted else untrained(tmp_path / "run", name)
    opened = SavedRun.open(run)
    family = family_of_run(opened)
    listed = refusals(family, family.parse(opened.tree, opened.source))
    assert counted or refusals_of(read_recipe(name), name) in (listed, None), "small or large, the same"
    for target in TARGETS:
        out, reason = tmp_path / (NAME if target == "file" else target), listed[target]
        if reason is None:
            written = export_run(run, out, target=target, certify=UNCOMPARED)
            assert written.is_file() if target == "file" else any(written.iterdir())
            continue
        with pytest.raises(ModelError, match=f"^{re.escape(reason)}$"):
            export_run(run, out, target=target, certify=UNCOMPARED)
        assert not out.exists()


def test_lines_name_the_targets_and_the_reasons() -> None:
    assert refusal_lines({"hf": None, "gguf": "model.x = 1: must be 2", "onnx": None}) == [
        "can be exported to: hf, onnx",
        "not to gguf: model.x = 1: must be 2",
    ]
    assert refusal_lines({"hf": "no"})[0] == "can be exported to: none"


def test_a_recipe_that_begins_with_a_run_has_its_sizes() -> None:
    assert refusals_of(read_recipe("bert-further"), "here") is None
    assert refusals_of(merge(read_recipe("bert-further"), {"model": {"d_model": 24}}), "here") is not None
    recipe: dict[str, Any] = merge(toy.RECIPE, {"model": {"position": "alibi"}})
    family = family_of_recipe(recipe, "here")
    with pytest.raises(ModelError, match=r"CTranslate2: model.position = 'alibi'"):
        check_target("ctranslate2", family, family.parse(recipe, "here"))
