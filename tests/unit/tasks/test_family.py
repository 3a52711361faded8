"""The contract: every task has one family, and each family answers what verbs ask of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from clearhead.errors import ModelError, UsageError
from clearhead.nn.dropout import Dropout
from clearhead.runs.opened import SavedRun
from clearhead.tasks.catalog import AnyFamily, AnyLearnedFamily, family_of, family_of_run
from clearhead.tasks.family import VERB_OF, Evaluation, EvaluationOptions, LearnedFamily, Task, open_for
from clearhead.tasks.sample import Sample, Shape

RUNS = ("toy_run", "toy_lm_run", "toy_masked_run", "toy_classifier", "toy_pair_classifier")


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> SavedRun:
    return SavedRun.open(request.getfixturevalue(request.param))


def learned(run: SavedRun) -> AnyLearnedFamily:
    family = family_of_run(run)
    assert isinstance(family, LearnedFamily)
    return family


def test_every_task_has_one_family_and_a_verb() -> None:
    tasks = get_args(Task)
    assert set(VERB_OF) == set(tasks)
    families: list[AnyFamily] = list({id(family_of(task)): family_of(task) for task in tasks}.values())
    assert sorted(word for family in families for word in family.words) == sorted(tasks)
    for family in families:
        assert {VERB_OF[word] for word in family.words} == {family.verb}
        assert family.noun
        assert family.compare_note


def test_a_batch_without_content_has_a_loss_of_its_shape(run: SavedRun) -> None:
    family = learned(run)
    recipe: Any = family.parse(run.tree, run.source)
    sizes, width = family.parts(run.path).sizes, family.width(recipe)
    batch = family.blank(recipe, 3, width)
    assert isinstance(batch, family.batch)
    model = family.build(recipe, sizes)
    total, count = family.loss(model, batch, recipe, sizes)
    assert torch.isfinite(total)
    assert count == batch.target_count > 0
    model.eval()(**family.inputs(batch))


def test_a_sample_is_a_batch_that_the_model_takes(run: SavedRun) -> None:
    family, trained = learned(run), learned(run).load(run, device="cpu")
    first, second = (family.batch_of(trained, Sample(shape=Shape(3, 9))) for _ in range(2))
    for name, tensor in family.inputs(first).items():
        assert torch.equal(tensor, family.inputs(second)[name]), name
        assert len(tensor) == 3
    trained.model(**family.inputs(first))
    trained.model(**family.inputs(family.batch_of(trained, Sample("他喜欢书。"))))


def test_two_passes_that_agree_have_the_loss_of_one(run: SavedRun) -> None:
    family = learned(run)
    recipe: Any = family.parse(run.tree, run.source)
    trained, sizes = family.load(run, device="cpu"), family.parts(run.path).sizes
    batch, model = family.batch_of(trained, Sample("他喜欢书。")), trained.model.train()

    def loss_and_gradients(consistency: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
        of = replace(recipe, loss=replace(recipe.loss, consistency=consistency))
        model.zero_grad()
        total, count = family.loss(model, batch, of, sizes)
        assert count == batch.target_count
        total.backward()
        return total, [torch.zeros(1) if each.grad is None else each.grad.clone() for each in model.parameters()]

    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    for dropout in dropouts:
        dropout.p = 0.3
    torch.manual_seed(1)
    apart, _ = loss_and_gradients(1e4)
    for dropout in dropouts:
        dropout.p = 0.0
    once, twice = loss_and_gradients(0.0), loss_and_gradients(100.0)
    torch.testing.assert_close(twice[0], once[0])
    for ours, theirs in zip(twice[1], once[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert apart > once[0] * 1.001
    assert family.loss(model.eval(), batch, recipe, sizes)[0] == family.loss(model, batch, recipe, sizes)[0]


def test_what_training_goes_on_with_is_what_was_saved(run: SavedRun) -> None:
    family = learned(run)
    recipe: Any = family.parse(run.tree, run.source)
    model = family.build(recipe, family.parts(run.path).sizes)
    step = run.load_into(model)
    loaded = family.load(run, device="cpu")
    assert loaded.step == step > 0
    assert family.parameters(loaded) == sum(tensor.numel() for tensor in model.parameters())
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_a_run_of_another_family_names_its_own_verb(toy_run: Path, toy_lm_run: Path) -> None:
    assert open_for(("translation",), toy_run, checkpoint="best").task == "translation"
    with pytest.raises(ModelError, match="is for the task language_model, not masked: use clearhead generate"):
        open_for(("masked",), toy_lm_run, checkpoint="best")


def test_an_evaluation_that_predicts_nothing_writes_nothing(toy_lm_run: Path, tmp_path: Path) -> None:
    run = SavedRun.open(toy_lm_run)
    family = family_of_run(run)
    options = EvaluationOptions()
    evaluation = family.evaluate(family.load(run, device="cpu"), toy_lm_run.parent / "data", "valid", options)
    assert isinstance(evaluation, Evaluation)
    assert evaluation.warnings() == []
    with pytest.raises(UsageError, match=r"--output '.*x.txt': is for translators and classifiers"):
        evaluation.write(tmp_path / "x.txt")
