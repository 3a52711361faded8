"""Classifiers: recipes that fit together, rates and unfreezing by depth, weighted lines, scores, labels of a run."""

import copy
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.config import merge
from clearhead.data.labelled import LabelledConfig, Labels, read_labelled
from clearhead.data.labelled_batches import LabelledBatch, LabelledBatches, LabelledRows, sequential_batches
from clearhead.errors import ModelError, UsageError
from clearhead.loss import weighted_cross_entropy
from clearhead.models.bert import BertClassifier
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.tasks.classify.recipe import (
    ClassifyRecipe,
    Objective,
    build_classifier,
    class_weights,
    depth_of,
    encode,
    load_labels,
    make_ready,
    monitored,
    parse_classify,
    predict,
    rate_of,
    save_labels,
    score,
    train_tokenizer,
)
from clearhead.training.step import train_step
from tests.small import shake
from tests.toy import CLASSIFY, labelled_lines, write_labelled

NUMBERS = {"data": {"kind": "number"}, "validation": {"monitor": "pearson"}}
STARTED = {"start": "somewhere"}


def recipe(*changes: dict[str, Any]) -> ClassifyRecipe:
    tree: dict[str, Any] = CLASSIFY
    for change in changes:
        tree = merge(tree, change)
    return parse_classify(tree, "here")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"validation": {"monitor": "bleu"}}, "monitor = 'bleu': must be one of loss, accuracy, macro_f1, matthews"),
        ({"validation": {"monitor": "pearson"}}, "monitor = 'pearson': must be one of loss, accuracy"),
        (merge(NUMBERS, {"validation": {"monitor": "accuracy"}}), "monitor = 'accuracy': must be one of loss, pearson"),
        (merge(NUMBERS, {"loss": {"class_weights": "balanced"}}), "loss: class_weights and label_smoothing are for cl"),
        (merge(STARTED, {"finetune": {"frozen": True, "unfreeze_every": 2}}), "of frozen, unfreeze_every and lora"),
        (merge(STARTED, {"finetune": {"lora": {}, "unfreeze_every": 2}}), "of frozen, unfreeze_every and lora only"),
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


def source_of(folder: Path, lines: list[str], found: ClassifyRecipe) -> tuple[BertClassifier, LabelledRows, Labels]:
    data = write_labelled(folder, lines, lines)
    text = read_labelled(data, split="train", config=found.data)
    tokenizer = train_tokenizer(text, found.tokenizer)
    torch.manual_seed(0)
    model = build_classifier(found, tokenizer, text.made_of)
    shake(model)
    return model.eval(), encode(text, found, tokenizer), text.made_of


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


def batch_of(source: LabelledRows, rows: list[int]) -> LabelledBatch:
    plan = sequential_batches(source.rows.lengths[rows] - 1, batch_tokens=9999)
    part = LabelledBatches(source, plan)
    object.__setattr__(plan, "order", np.array(rows, np.int32))
    return part[0]


@pytest.mark.parametrize("cuts", [[2], [1, 3, 7], list(range(1, 8))])
def test_unequal_micro_batches_of_weighted_classes_are_one_batch(cuts: list[int], tmp_path: Path) -> None:
    """Each line's share is its weight over the weights of the whole step, whatever batch it came in."""
    lines = [line for line in labelled_lines(14) if not line.startswith("good")] + labelled_lines(4)[1::2]
    found = recipe({"model": {"dropout": 0.0, "block": {"attn_dropout": 0.0}}, "loss": {"class_weights": "balanced"}})
    model, source, labels = source_of(tmp_path, lines, found)
    weights = class_weights(source)
    assert weights.tolist() == pytest.approx([9 / (2 * 7), 9 / (2 * 2)])
    assert float(weights[torch.from_numpy(source.labels)].mean()) == pytest.approx(1.0)
    objective = Objective(labels, 0.1, weights)
    many = copy.deepcopy(model)
    rows, edges = list(range(8)), [0, *cuts, 8]  # not all lines: of all, the weights add up to their number

    def step(model: BertClassifier, batches: list[LabelledBatch]) -> tuple[float, float]:
        optimizers = build_optimizers(model, OptimConfig(name="sgd"), lr=0.1)
        loss_of, weight_of = (lambda batch: objective.loss_of(model, batch)), objective.weight_of
        return train_step(model, batches, loss_of, optimizers, grad_clip_norm=0.0, weight_of=weight_of)

    whole = batch_of(source, rows)
    logits = model(whole.ids, mask=whole.mask, segments=whole.segments)
    total, weight = weighted_cross_entropy(logits, whole.labels, weights, label_smoothing=0.1)
    one = step(model, [whole])
    parts = step(many, [batch_of(source, rows[begin:end]) for begin, end in pairwise(edges)])
    assert one[0] == pytest.approx(float((total / weight).detach()), rel=1e-5)
    assert parts == pytest.approx(one, rel=1e-4)
    for (name, ours), theirs in zip(many.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6, msg=name)


def test_predictions_are_those_of_each_line_alone(tmp_path: Path) -> None:
    model, source, labels = source_of(tmp_path, labelled_lines(20), recipe())
    for weight in model.parameters():
        weight.data *= 8.0  # far from equal for all lines
    found = predict(model, source, labels, batch_tokens=60)
    assert found.sum(axis=1) == pytest.approx(np.ones(20))
    assert np.ptp(found[:, 0]) > 0.1
    for row in range(20):
        batch = batch_of(source, [row])
        alone = model(batch.ids, mask=batch.mask, segments=batch.segments)[0].softmax(dim=0)
        assert found[row] == pytest.approx(alone.detach().numpy(), abs=1e-5)
    scores = monitored(score(found, source, labels), labels)
    losses = -np.log(found[np.arange(20), source.labels])
    assert scores["loss"] == pytest.approx(losses.mean())
    assert set(scores) == {"loss", "accuracy", "macro_f1", "matthews"}


def test_a_whole_text_may_be_its_mean(tmp_path: Path) -> None:
    found = recipe({"finetune": {"pooling": "mean"}})  # without a start too
    model, source, labels = source_of(tmp_path, labelled_lines(20), found)
    batch = batch_of(source, [3])
    states = model.bert(batch.ids, mask=batch.mask, segments=batch.segments)
    torch.testing.assert_close(model.bert.pooler.pool(states, batch.mask), states.mean(dim=1))
    together = predict(model, source, labels, batch_tokens=9999)
    assert together == pytest.approx(predict(model, source, labels, batch_tokens=24), abs=1e-6)
    with pytest.raises(UsageError, match=r"finetune\.pooling = 'max': "):
        recipe({"finetune": {"pooling": "max"}})


def test_numbers_are_learned_in_deviations_from_their_mean(tmp_path: Path) -> None:
    lines = [f"{value}\ttext {value}" for value in (10.0, 20.0, 60.0)]
    model, source, labels = source_of(tmp_path, lines, recipe(NUMBERS))
    assert (labels.classes, labels.mean, labels.deviation) == ((), 30.0, pytest.approx(np.std([10, 20, 60])))
    batch = batch_of(source, [0, 1, 2])
    total, count = Objective(labels).loss_of(model, batch)
    predicted = predict(model, source, labels, batch_tokens=99)
    scores = monitored(score(predicted, source, labels), labels)
    assert count == 3
    assert scores["mse"] == pytest.approx(((predicted[:, 0] - [10, 20, 60]) ** 2).mean())
    assert scores["loss"] == pytest.approx(float(total.detach()) / 3, rel=1e-5)
    assert set(scores) == {"loss", "mse", "pearson", "spearman"}
    constant = write_labelled(tmp_path / "same", ["5\ta", "5\tb"], [])
    text = read_labelled(constant, split="train", config=LabelledConfig(kind="number", valid_fraction=0.0))
    assert text.made_of == Labels((), False, 5.0, 1.0)


def test_labels_come_back_and_damage_is_named(tmp_path: Path) -> None:
    labels = Labels(("坏", "good"), True)
    save_labels(labels, tmp_path)
    assert load_labels(tmp_path) == labels
    for content in (b"", b"[]", b'{"classes": 3, "pairs": true}', b"\xff"):
        (tmp_path / "labels.json").write_bytes(content)
        with pytest.raises(ModelError, match=r"labels\.json'(: classes = 3| is not)"):
            load_labels(tmp_path)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(ModelError, match=r"labels\.json' cannot be read: No such file"):
        load_labels(tmp_path)


def test_pairs_need_two_segments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.n_segments = 1: pairs of texts need 2"):
        source_of(tmp_path, labelled_lines(8, pairs=True), recipe({"model": {"n_segments": 1}}))
    assert asdict(recipe())["model"]["n_segments"] == 2
