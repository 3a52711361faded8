"""Finds the family of a recipe, a run or a Hugging Face folder; a family is imported when it is first asked for."""

from pathlib import Path
from typing import Any, assert_never, cast, get_args

from clearhead.config import Tree, as_tree, newer_than_this
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.interop.bert import bert_kind
from clearhead.interop.folder import read_config, read_tensors
from clearhead.interop.sentence import MODULES
from clearhead.interop.spelling import demand
from clearhead.progress import Progress, silent
from clearhead.runs.opened import SavedRun
from clearhead.tasks.family import Family, LearnedFamily, Task
from clearhead.tasks.imported import Imported
from clearhead.training.job import Job

AnyFamily = Family[Any, Any]
AnyLearnedFamily = LearnedFamily[Any, Any, Any, Any]


def family_of(task: Task) -> AnyFamily:
    """Returns the family of a task."""
    match task:
        case "translation" | "rnn_translation":
            from clearhead.tasks.translation.family import TRANSLATION

            return TRANSLATION
        case "language_model" | "rnn_language_model":
            from clearhead.tasks.language_model.family import LANGUAGE_MODEL

            return LANGUAGE_MODEL
        case "ngram":
            from clearhead.tasks.language_model.family import NGRAM

            return NGRAM
        case "masked":
            from clearhead.tasks.masked.family import MASKED

            return MASKED
        case "classify":
            from clearhead.tasks.classify.family import CLASSIFY

            return CLASSIFY
    assert_never(task)


def family_of_recipe(tree: Tree, source: str) -> AnyFamily:
    """Returns the family of a recipe; a recipe without the key ``task`` is for translation.

    Raises:
        UsageError: there is no such task, or the recipe has ``start`` and its task cannot begin with a trained model.
    """
    task, known = tree.get("task", "translation"), get_args(Task)
    if task not in known:
        hint = nearest(str(task), known) + newer_than_this(tree)
        raise UsageError(f"{source}: task = {task!r}: must be one of {', '.join(known)}{hint}")
    family = family_of(cast(Task, task))
    if tree.get("start") and not family.warm:
        warm = ", ".join(word for word in known if family_of(word).warm)
        rule = f"only {warm} begin with a trained model"
        raise UsageError(f"{source}: start = {tree['start']!r}: the task {task} learns from scratch, {rule}")
    return family


def family_of_run(run: SavedRun) -> AnyFamily:
    """Returns the family of a run; raises as ``family_of_recipe`` does."""
    return family_of_recipe(run.tree, run.source)


def resolve(tree: Tree, source: str) -> Tree:
    """Returns the recipe with every key that it leaves out at its default.

    Raises:
        UsageError: a key or value is wrong.
    """
    return as_tree(family_of_recipe(tree, source).parse(tree, source))


def prepare_job(tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent) -> Job:
    """Reads the text and builds the model of a recipe of any task; see ``Family.prepare``."""
    return family_of_recipe(tree, source).prepare(tree, source, data, run=run, progress=progress)


def read_model(folder: Path, *, src: str = "", tgt: str = "") -> tuple[AnyLearnedFamily, Imported]:
    """Reads a model and its tokenizer: GPT-2, a Llama or Qwen3, Marian, or BERT with any of its heads.

    Args:
        folder: in Hugging Face's layout.
        src: source language of a translator; empty takes the one in the folder's settings.
        tgt: target language of a translator, likewise.

    Returns:
        The model's family, and the model.

    Raises:
        ModelError: the folder is missing or incomplete, or clearhead cannot represent some part of the model; the
            message names the first such part.
        UsageError: a translator's languages are not known, or languages are given for a model that is no translator.
    """
    config = read_config(folder)
    task = _task_of_folder(folder, config)
    if (src or tgt) and task != "translation":
        raise UsageError(f"--src and --tgt: {str(folder)!r} has no translator")
    family = family_of(task)
    assert isinstance(family, LearnedFamily)
    if (folder / MODULES).is_file() and not family.embeds:
        raise ModelError(
            f"{str(folder)!r} has {MODULES}: vectors of texts are made by a BERT without an output layer only"
        )
    return family, family.read_folder(folder, config, src=src, tgt=tgt)


def _task_of_folder(folder: Path, config: Tree) -> Task:
    demand(
        {"model_type": None, **config}, {"model_type": ("bert", "gpt2", "llama", "qwen3", "marian")}, "config.json: "
    )
    if config["model_type"] == "marian":
        return "translation"
    if config["model_type"] != "bert":
        return "language_model"
    kind = bert_kind(config, read_tensors(folder))
    if kind == "token":
        raise ModelError(
            f"{str(folder)!r} is a BertForTokenClassification: clearhead has no classifier of single pieces"
        )
    return "classify" if kind in ("sequence", "regression") else "masked"
