"""Which task a recipe is for: the one place that knows them all."""

from pathlib import Path

from clearhead.config import Tree, as_tree, newer_than_this
from clearhead.errors import UsageError, nearest
from clearhead.tasks.classify.job import prepare_classify
from clearhead.tasks.classify.recipe import parse_classify
from clearhead.tasks.language_model.job import prepare_language_model
from clearhead.tasks.language_model.ngram import parse_ngram
from clearhead.tasks.language_model.ngram_job import prepare_ngram
from clearhead.tasks.language_model.recipe import parse_language_model
from clearhead.tasks.masked.job import prepare_masked
from clearhead.tasks.masked.recipe import parse_masked
from clearhead.tasks.translation.job import prepare_translation
from clearhead.tasks.translation.recipe import parse_recipe
from clearhead.training.job import Job, Progress

TASKS = ("translation", "rnn_translation", "language_model", "rnn_language_model", "ngram", "masked", "classify")
STARTED = ("language_model", "rnn_language_model", "masked", "classify")  # which may begin with a trained model


def task_of(tree: Tree, source: str) -> str:
    """Returns the recipe's task; translation is what a recipe without the key is for.

    Raises:
        UsageError: there is no such task, or it cannot begin with a trained model, as the recipe says.
    """
    task = tree.get("task", "translation")
    if task not in TASKS:
        hint = nearest(str(task), TASKS) + newer_than_this(tree)
        raise UsageError(f"{source}: task = {task!r}: must be one of {', '.join(TASKS)}{hint}")
    if tree.get("start") and task not in STARTED:
        rule = f"only {', '.join(STARTED)} begin with a trained model"
        raise UsageError(f"{source}: start = {tree['start']!r}: the task {task} learns from scratch, {rule}")
    return str(task)


def resolve(tree: Tree, source: str) -> Tree:
    """Returns the recipe with every key that it leaves out at its default.

    Raises:
        UsageError: a key or value is wrong.
    """
    match task_of(tree, source):
        case "ngram":
            return as_tree(parse_ngram(tree, source))
        case "classify":
            return as_tree(parse_classify(tree, source))
        case "language_model" | "rnn_language_model":
            return as_tree(parse_language_model(tree, source))
        case "masked":
            return as_tree(parse_masked(tree, source))
        case _:
            return as_tree(parse_recipe(tree, source))


def prepare_job(
    tree: Tree, source: str, folder: Path, *, run: Path | None = None, progress: Progress = lambda done, total: None
) -> Job:
    """Reads the text and builds the model of a recipe of any task; arguments as in ``prepare_translation``."""
    match task_of(tree, source):
        case "ngram":
            return prepare_ngram(tree, source, folder, run=run, progress=progress)
        case "classify":
            return prepare_classify(tree, source, folder, run=run, progress=progress)
        case "language_model" | "rnn_language_model":
            return prepare_language_model(tree, source, folder, run=run, progress=progress)
        case "masked":
            return prepare_masked(tree, source, folder, run=run, progress=progress)
        case _:
            return prepare_translation(tree, source, folder, run=run, progress=progress)
