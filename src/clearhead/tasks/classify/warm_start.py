"""The encoder that fine-tuning starts from: that of a run, or of a folder in Hugging Face's layout."""

from dataclasses import dataclass, replace
from pathlib import Path

from clearhead.checkpoint import LoadReport, model_tensors
from clearhead.config import Tree, merge
from clearhead.data.labelled import Labels
from clearhead.errors import ModelError
from clearhead.interop.bert import bert_from_hugging_face
from clearhead.interop.folder import is_folder, read_config, read_tensors
from clearhead.interop.spelling import Tensors
from clearhead.interop.tokenizer import read_tokenizer
from clearhead.models.bert import BertClassifier, BertConfig, Pooling
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import load_recipe
from clearhead.runs.tokenizers import load_tokenizer
from clearhead.tasks.classify.recipe import ClassifyRecipe, load_classifier, load_labels, parse_classify
from clearhead.tasks.imported import labels_of
from clearhead.tasks.masked.recipe import load_masked, parse_masked
from clearhead.tasks.warm_start import begun_as, load_weights
from clearhead.text.tokenizer import Tokenizer

ENCODERS = ("masked", "classify")  # tasks whose runs hold one


@dataclass(frozen=True)
class EncoderStart:
    """A trained encoder."""

    source: str
    """What to call it in errors."""
    config: BertConfig
    tokenizer: Tokenizer
    tensors: Tensors
    """Weights in the names of ``BertClassifier``, and those of heads that it has not; LoRA is merged."""
    labels: Labels | None = None
    """What its output layer stands for, if it is a classifier's."""
    left: tuple[str, ...] = ()
    """Tensors of a folder that are no part of an encoder."""
    pooling: Pooling = "first"
    """What a classifier's output layer was trained on."""

    def begun(self, tree: Tree, source: str) -> ClassifyRecipe:
        """Returns the recipe that starts here, as ``begun_as`` does; pooling is this one's unless it says another."""
        whole = merge({"finetune": {"pooling": self.pooling}}, tree)
        return begun_as(whole, source, parse_classify, model=self.config, tokenizer=self.tokenizer.config)

    def load_into(self, model: BertClassifier, labels: Labels) -> LoadReport:
        """Copies the encoder into ``model``, its output layer too where it stands for the same labels.

        Raises:
            ModelError: a tensor does not fit.
        """
        known = self.labels
        if known is not None and known.pairs is None:
            known = replace(known, pairs=labels.pairs)
        head = {name for name in self.tensors if name.startswith("head.") and known != labels}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name not in head}
        found = load_weights(model, tensors, self.source)
        return replace(found, left=sorted([*found.left, *head, *self.left]))


def open_encoder(path: Path) -> EncoderStart:
    """Opens what ``--from`` names.

    Args:
        path: a run of masked or classify, or a folder of Hugging Face's with a BERT.

    Raises:
        ModelError: it is neither, has no checkpoint, is not whole, or cannot be read.
    """
    if is_folder(path) and not (path / "recipe.toml").exists():
        return _from_folder(path)
    source, tree = f"run {str(path)!r}", load_recipe(path)
    if (own := tree.get("task", "translation")) not in ENCODERS:
        raise ModelError(f"start = {str(path)!r}: a run of the task {' or '.join(ENCODERS)} is needed, not {own!r}")
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise ModelError(f"run {str(path)!r} has no checkpoint yet")
    tokenizer = load_tokenizer(path)
    if own == "classify":
        recipe, labels = parse_classify(tree, f"recipe of {source}"), load_labels(path)
        model = load_classifier(recipe, tokenizer, labels, checkpoint)
        pooling = recipe.finetune.pooling
        return EncoderStart(source, recipe.model, tokenizer, model_tensors(model), labels, pooling=pooling)
    pretrained = parse_masked(tree, f"recipe of {source}")
    return EncoderStart(
        source, pretrained.model, tokenizer, model_tensors(load_masked(pretrained, tokenizer, checkpoint))
    )


def _from_folder(folder: Path) -> EncoderStart:
    config, given = read_config(folder), read_tensors(folder)
    model, tensors, report = bert_from_hugging_face(config, given, kind="pooled")
    tokenizer, source = read_tokenizer(folder, config, report.vocab_size), repr(str(folder))
    if {"classifier.weight", "bert.pooler.dense.weight"} <= given.keys():
        model, tensors, report = bert_from_hugging_face(config, given)
        return EncoderStart(source, model, tokenizer, tensors, labels_of(report, model), report.left)
    named = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    return EncoderStart(source, model, tokenizer, named, left=report.left)
