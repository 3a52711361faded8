"""Recipes of classifiers, and which parts of them learn at what rate."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from clearhead.config import merge
from clearhead.errors import UsageError
from clearhead.tasks.classify.recipe import (
    depth_of,
    make_ready,
    rate_of,
)
from tests.labelled import NUMBERS, STARTED, recipe, source_of
from tests.toy import labelled_lines


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"validation": {"monitor": "bleu"}}, "monitor = 'bleu': must be one of loss, accuracy, macro_f1, matthews"),
        ({"validation": {"monitor": "pearson"}}, "monitor = 'pearson': must be one of loss, accuracy"),
        (merge(NUMBERS, {"validation": {"monitor": "accuracy"}}), "monitor = 'accuracy': must be one of loss, pearson"),
        (merge(NUMBERS, {"loss": {"class_weights": "balanced"}}), "loss: class_weights and label_smoothing are for cl"),
        (merge(STARTED, {"finetune": {"frozen": True, "unfreeze_every": 2}}), "of frozen, unfreeze_every and lora"),
        (merge(STARTED, {"lora": {}, "finetune": {"unfreeze_every": 2}}), "of frozen, unfreeze_every and lora only"),
        ({"finetune": {"frozen": True}}, r"finetune: is for a trained encoder; name it with start \(--from RUN\)"),
        ({"finetune": {"fresh": True}}, "finetune: is for a trained encoder"),
        ({"finetune": {"layer_decay": 0.0}}, "finetune.layer_decay = 0.0: input should be greater than 0"),
        ({"tokenizer": {"specials": "sequence"}}, "tokenizer.specials = 'sequence': an encoder needs 'masked'"),
        ({"tokenizer": {"kind": "char", "dropout": 0.1}}, "dropout = 0.1: kind must be byte_bpe or bpe"),
        ({"data": {"folds": 1}}, "folds = 1, fold = 0: folds must be 0 or at least 2, fold below it"),
        ({"data": {"folds": 3, "fold": 3}}, "folds = 3, fold = 3"),
        ({"data": {"fold": 1}}, "folds = 0, fold = 1"),
    ],
)
def test_recipes_that_do_not_fit_together(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        recipe(change)


def test_depth_grows_from_the_output_down(tmp_path: Path) -> None:
    model, _, _ = source_of(tmp_path, labelled_lines(8), recipe({"model": {"block": {"norm_position": "pre"}}}))
    depths = {name: depth_of(name, 2) for name, _ in model.named_parameters()}
    by_depth = {
        depth: {".".join(name.split(".")[:3]) for name in depths if depths[name] == depth} for depth in range(4)
    }
    assert by_depth[0] == {"bert.pooler.proj", "head.out_proj.weight", "head.out_proj.bias"}
    assert by_depth[1] == {"bert.layers.1", "bert.norm.weight", "bert.norm.bias"}
    assert by_depth[2] == {"bert.layers.0"}
    assert by_depth[3] == {
        "bert.embedding.tokens",
        "bert.embedding.position",
        "bert.embedding.segments",
        "bert.embedding.norm",
    }
    assert set(depths.values()) == {0, 1, 2, 3}
    rates = rate_of(recipe(STARTED, {"finetune": {"layer_decay": 0.5}}))
    assert [rates(name) for name in ("head.out_proj.weight", "bert.layers.1.x", "bert.layers.0.x")] == [1.0, 0.5, 0.25]
    assert rates("bert.embedding.tokens.weight") == 0.125
    for change in ({"finetune": {"layer_decay": 0.5}}, {**STARTED, "finetune": {"layer_decay": 0.5, "fresh": True}}):
        assert rate_of(recipe(change))("bert.embedding.tokens.weight") == 1.0, "what is all drawn learns at one rate"


def test_layers_learn_from_the_top_by_the_step_alone(tmp_path: Path) -> None:
    found = recipe(STARTED, {"finetune": {"unfreeze_every": 3}})
    model, _, _ = source_of(tmp_path, labelled_lines(8), found)
    for step in (12, 1, 3, 4, 6, 7, 10, 2):  # in any order: a resumed run starts in the middle
        make_ready(model, step, found)
        learning = {depth_of(name, 2) for name, one in model.named_parameters() if one.requires_grad}
        still = {depth_of(name, 2) for name, one in model.named_parameters() if not one.requires_grad}
        assert learning == set(range(min((step - 1) // 3, 3) + 1)), step
        assert not learning & still


def test_pairs_need_two_segments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.n_segments = 1: pairs of texts need 2"):
        source_of(tmp_path, labelled_lines(8, pairs=True), recipe({"model": {"n_segments": 1}}))
    assert asdict(recipe())["model"]["n_segments"] == 2
