"""What stands for a run where nothing is trained: how its model is built, and batches without content."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from clearhead.config import Tree, as_tree
from clearhead.data.labelled import Labels
from clearhead.data.labelled_batches import LabelledBatch
from clearhead.data.masked import MaskedBatch
from clearhead.data.stream import StreamBatch
from clearhead.data.translation import Batch
from clearhead.errors import UsageError
from clearhead.models.bert import BertClassifier, BertPretraining
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.tasks.catalog import task_of
from clearhead.tasks.classify import recipe as classify
from clearhead.tasks.classify.recipe import ClassifyRecipe
from clearhead.tasks.classify.warm_start import open_encoder
from clearhead.tasks.gradient_recipe import adapt_layers
from clearhead.tasks.language_model import recipe as language_model
from clearhead.tasks.language_model.recipe import LanguageModelRecipe
from clearhead.tasks.masked import recipe as masked
from clearhead.tasks.masked.recipe import MaskedRecipe
from clearhead.tasks.translation import recipe as translation
from clearhead.tasks.translation.recipe import TranslationRecipe
from clearhead.tasks.warm_start import open_start, start_of
from clearhead.training.job import GradientJob, Recipe


@dataclass(frozen=True)
class Example:
    """A model and a batch without padding, of any number of rows."""

    build: Callable[[], nn.Module]
    loss: Callable[[nn.Module, int], Tensor]
    """(model, rows) -> the loss of a batch."""
    width: int


def example_of(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    """Returns the recipe and what stands for its model and its text: rows as wide as the recipe allows.

    Args:
        tree: the recipe.
        source: what to call it in errors.
        vocab_size: pieces; None takes the most that the recipe allows.

    Raises:
        UsageError: the recipe is wrong, or its task or model is none that can be forecast.
        ModelError: what the recipe starts from cannot be read.
    """
    task = task_of(tree, source)
    if start_of(tree):
        tree, pieces = _begun(tree, source)
        vocab_size = vocab_size or pieces
    match task:
        case "translation":
            return _translation(tree, source, vocab_size)
        case "language_model":
            return _language_model(tree, source, vocab_size)
        case "masked":
            return _masked(tree, source, vocab_size)
        case "classify":
            return _classify(tree, source, vocab_size)
    raise UsageError(f"{source}: task = {task!r}: only Transformers are forecast")


def _begun(tree: Tree, source: str) -> tuple[Tree, int]:
    """Returns a recipe with the sizes of the trained model that it starts from, and the pieces of its vocabulary."""
    path = Path(start_of(tree))
    if tree["task"] == "classify":
        encoder = open_encoder(path)
        return as_tree(encoder.begun(tree, source)), encoder.tokenizer.vocab_size
    start = open_start(path, task=tree["task"])
    if tree["task"] == "masked":
        return as_tree(start.begun(tree, source, masked.parse_masked)), start.tokenizer.vocab_size
    return as_tree(start.begun(tree, source, language_model.parse_language_model)), start.tokenizer.vocab_size


def example_of_job(job: GradientJob) -> Example | None:
    """Returns what stands for a run whose text has been read: its own sizes, rows as wide as its widest.

    None for a recurrent model: what its kernels keep for the way back is not known.
    """
    if job.recipe.task.startswith("rnn_"):
        return None
    return Example(job.build, loss_of(job.recipe, job.width), job.width)


def loss_of(recipe: Recipe, width: int) -> Callable[[nn.Module, int], Tensor]:
    """Returns what gives the loss of a model on so many rows of ``width`` positions."""
    match recipe:
        case TranslationRecipe():
            return partial(_translation_loss, recipe, width)
        case LanguageModelRecipe():
            return partial(_language_model_loss, recipe, width)
        case MaskedRecipe():
            return partial(_masked_loss, recipe, width)
    return partial(_classify_loss, width)


def _ids(rows: int, width: int) -> Tensor:
    return torch.zeros(rows, width, dtype=torch.long)


def _translation(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = translation.parse_recipe({"src": "src", "tgt": "tgt", **tree}, source)
    config, pieces = recipe.model, vocab_size or recipe.tokenizer.vocab_size
    assert isinstance(config, TransformerConfig)
    width = recipe.data.max_len + 1
    build = partial(Transformer, config, src_vocab_size=pieces, vocab_size=pieces)
    return recipe, Example(build, loss_of(recipe, width), width)


def _translation_loss(recipe: TranslationRecipe, width: int, model: nn.Module, rows: int) -> Tensor:
    ids = _ids(rows, width)
    assert isinstance(model, Transformer)
    batch = Batch(ids, None, ids, ids, ids.numel(), torch.zeros(rows, dtype=torch.long))
    return translation.batch_loss(model, batch, recipe.loss)[0]


def _language_model(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = language_model.parse_language_model(tree, source)
    config, pieces = recipe.model, vocab_size or recipe.tokenizer.vocab_size
    assert isinstance(config, GPTConfig)
    width = config.max_seq_len

    def build() -> nn.Module:
        model = GPT(config, vocab_size=pieces)
        adapt_layers(model, recipe.lora)
        return model

    return recipe, Example(build, loss_of(recipe, width), width)


def _language_model_loss(recipe: LanguageModelRecipe, width: int, model: nn.Module, rows: int) -> Tensor:
    ids = _ids(rows, width)
    assert isinstance(model, GPT)
    apart = ids if recipe.data.packing == "isolated" else None
    batch = StreamBatch(ids, ids, ids.numel(), document_ids=apart, positions=apart)
    return language_model.batch_loss(model, batch, recipe.loss)[0]


def _masked(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe = masked.parse_masked(tree, source)
    pieces, width = vocab_size or recipe.tokenizer.vocab_size, recipe.row_length
    nsp = recipe.masked.next_sentence

    def build() -> nn.Module:
        return masked.adapt(BertPretraining(recipe.model, vocab_size=pieces, nsp=nsp), recipe.masked.lora)

    return recipe, Example(build, loss_of(recipe, width), width)


def _masked_loss(recipe: MaskedRecipe, width: int, model: nn.Module, rows: int) -> Tensor:
    ids, hidden = _ids(rows, width), int(recipe.masked.mask_fraction * rows * width)
    found = torch.zeros(hidden, dtype=torch.long)
    labels = torch.zeros(rows, dtype=torch.long) if recipe.masked.next_sentence else None
    assert isinstance(model, BertPretraining)
    batch = MaskedBatch(ids, ids, torch.ones_like(ids).bool(), found, found, labels, hidden)
    return masked.batch_loss(model, batch, recipe.loss)[0]


def _classify(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    recipe: ClassifyRecipe = classify.parse_classify(tree, source)
    pieces, width = vocab_size or recipe.tokenizer.vocab_size, recipe.model.max_seq_len

    def build() -> nn.Module:
        model = BertClassifier(recipe.model, vocab_size=pieces, kind="sequence", n_labels=2)
        return classify.adapt(model, recipe.tuned)

    return recipe, Example(build, loss_of(recipe, width), width)


def _classify_loss(width: int, model: nn.Module, rows: int) -> Tensor:
    ids, rest = _ids(rows, width), torch.zeros(rows, dtype=torch.long)
    batch = LabelledBatch(ids, ids, torch.ones_like(ids).bool(), rest, rest, rows)
    return classify.Objective(Labels(("no", "yes"), pairs=False)).loss_of(model, batch)[0]
