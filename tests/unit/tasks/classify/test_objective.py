"""What a classifier minimizes: batches in any cut, numbers in deviations; each line is judged alone."""

import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.data.labels.labelled import LabelledConfig, read_labelled
from clearhead.data.labels.labelled_batches import LabelledBatch
from clearhead.data.labels.labels import Labels
from clearhead.errors import UsageError
from clearhead.loss import weighted_cross_entropy
from clearhead.models.bert import BertClassifier
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.tasks.classify.objective import Objective, class_weights, monitored, predict, score
from clearhead.tasks.classify.recipe import rate_of
from clearhead.training.step import train_step
from tests.labelled import NUMBERS, batch_of, recipe, source_of
from tests.toy import labelled_lines, write_labelled

STILL = {"model": {"dropout": 0.0, "block": {"attn_dropout": 0.0}}}
"""Without dropout."""


@pytest.mark.parametrize("cuts", [[2], [1, 3, 7], list(range(1, 8))])
def test_unequal_micro_batches_of_weighted_classes_are_one_batch(cuts: list[int], tmp_path: Path) -> None:
    """Each line's share is its weight over the weights of the whole step, whatever batch it came in."""
    lines = [line for line in labelled_lines(14) if not line.startswith("good")] + labelled_lines(4)[1::2]
    found = recipe(STILL, {"loss": {"class_weights": "balanced"}})
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


def test_ngrams_are_learned_at_their_own_rate(tmp_path: Path) -> None:
    found = recipe({"finetune": {"ngrams": 2, "ngram_lr": 0.5, "layer_decay": 0.5}, "train": {"lr": 0.01}})
    model, _, _ = source_of(tmp_path, labelled_lines(20), found)
    factor = rate_of(found)
    assert (factor("ngrams.table.weight"), factor("head.out_proj.weight")) == (50.0, 1.0)
    optimizers = build_optimizers(model, OptimConfig(), lr=0.01, rate_of=factor)
    assert optimizers.first_rate == 0.01, "that of the rest is shown"
    rates = [group["lr"] for part in optimizers.parts for group in part.param_groups for _ in group["params"]]
    assert rates.count(0.5) == 1


@pytest.mark.parametrize("numbers", [False, True])
def test_ngrams_and_the_encoder_learn_apart_and_their_mean_counts(numbers: bool, tmp_path: Path) -> None:
    found = recipe(NUMBERS if numbers else {}, {"finetune": {"ngrams": 2}}, STILL)
    lines = [f"{value}\ttext {value}" for value in (10.0, 20.0, 60.0)] if numbers else labelled_lines(20)
    model, source, labels = source_of(tmp_path, lines, found)
    assert model.ngrams is not None
    model.ngrams.table.weight.data.normal_()
    batch = batch_of(source, [0, 1, 2])
    given = {"mask": batch.mask, "segments": batch.segments}
    alone = copy.deepcopy(model)
    counted, alone.ngrams = copy.deepcopy(model.ngrams), None
    said = [alone(batch.ids, **given), counted(batch.ids, **given)]
    torch.testing.assert_close(model.eval()(batch.ids, **given), (said[0] + said[1]) / 2)
    torch.testing.assert_close(model(batch.ids, **given, apart=True), torch.cat(said))
    objective = Objective(labels, 0.1, ngrams=True)
    judged, _ = objective.loss_of(model, batch)
    torch.testing.assert_close(judged, Objective(labels, 0.1).loss_of(model, batch)[0], msg="as it predicts")
    total, count = objective.loss_of(model.train(), batch)
    total.backward()
    assert count == 3
    of_each = [Objective(labels, 0.1).loss_of(part.train(), batch)[0] for part in (alone, counted)]
    torch.testing.assert_close(total, sum(of_each) / 2)
    for part, own in zip(of_each, (alone, counted), strict=True):
        part.backward()
        trained = model if own is alone else model.ngrams
        for name, weight in own.named_parameters():
            torch.testing.assert_close(trained.get_parameter(name).grad, weight.grad / 2, msg=name)


def test_two_passes_over_numbers_differ_by_their_squares(tmp_path: Path) -> None:
    lines = [f"{value}\ttext {value}" for value in (10.0, 20.0, 60.0)]
    found = recipe(NUMBERS, {"model": {"dropout": 0.3}, "loss": {"consistency": 8.0}})
    model, source, labels = source_of(tmp_path, lines, found)
    batch, objective = batch_of(source, [0, 1, 2]), Objective(labels, consistency=8.0)
    torch.manual_seed(7)
    total, _ = objective.loss_of(model.train(), batch)
    torch.manual_seed(7)
    twice = [torch.cat([each, each]) for each in (batch.ids, batch.mask, batch.segments)]
    first, second = model(twice[0], mask=twice[1], segments=twice[2])[:, 0].chunk(2)
    wanted = (batch.labels - labels.mean) / labels.deviation
    errors = sum((values - wanted).square().sum() for values in (first, second)) / 2
    torch.testing.assert_close(total, errors + 2.0 * (first - second).square().sum())
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(objective.loss_of(model.eval(), batch), Objective(labels).loss_of(model, batch))


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
