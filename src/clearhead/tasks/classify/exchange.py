"""Reads and writes classifiers in Hugging Face's layout: BERT for sequence classification or regression."""

from pathlib import Path

from torch import Tensor

from clearhead.config import Tree
from clearhead.data.labels.labelled import LabelledConfig
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError
from clearhead.interop.bert import bert_from_hugging_face, bert_to_hugging_face, check_bert
from clearhead.interop.folder import read_tensors
from clearhead.interop.spelling import demand
from clearhead.interop.tokenizer import check_template, read_tokenizer, write_tokenizer
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.recipe import ClassifyRecipe, classifier_sizes
from clearhead.tasks.classify.warm_start import labels_of
from clearhead.tasks.family import HuggingFaceFiles
from clearhead.tasks.imported import Imported, described


def read_classifier(folder: Path, config: Tree) -> Imported:
    """Reads a BERT with an output layer for whole texts; see ``LearnedFamily.read_folder``."""
    model, tensors, report = bert_from_hugging_face(config, read_tensors(folder))
    if report.kind not in ("sequence", "regression"):
        raise ModelError(f"{str(folder)!r} is a BERT without an output layer for whole texts: it is no classifier")
    labels = labels_of(report, model)
    parts = TextParts(read_tokenizer(folder, config, report.vocab_size), labels=labels)
    check_template(parts.tokenizer, "segments", str(folder))
    data = LabelledConfig(kind="classes" if labels.classes else "number")
    recipe = ClassifyRecipe(model=model, data=data, **described(folder, parts.tokenizer, model.max_seq_len))
    return Imported(recipe, classifier_sizes(model), parts, tensors, report.loaded, report.left)


def check_classifier(recipe: ClassifyRecipe) -> None:
    """Raises ModelError, with the key, if no class of Hugging Face's is a classifier of ``recipe``."""
    demand({"pooling": recipe.finetune.pooling}, {"pooling": ("first",)}, "Hugging Face's bert: finetune.")
    check_bert(recipe.model)


def write_classifier(trained: Classifier) -> HuggingFaceFiles:
    """Returns a classifier as Hugging Face's classes load it; see ``Family.to_hugging_face``."""
    check_classifier(trained.recipe)
    tokenizer, model, sizes = trained.tokenizer, trained.model, TextParts(trained.tokenizer).sizes
    assert model.kind != "token"
    config, tensors = bert_to_hugging_face(
        model.config,
        _in_units(model.state_dict(), trained.labels),
        kind=model.kind,
        vocab_size=sizes.vocab_size,
        pad_id=sizes.pad_id,
        labels=trained.labels.classes,
    )
    return config, tensors, write_tokenizer(tokenizer, template="segments")


def _in_units(tensors: dict[str, Tensor], labels: Labels) -> dict[str, Tensor]:
    """Returns weights whose output is in the unit of the labels; ours gives standard deviations from their mean."""
    if labels.classes or (labels.mean, labels.deviation) == (0.0, 1.0):
        return tensors
    weight, bias = (tensors[f"head.out_proj.{kind}"].double() * labels.deviation for kind in ("weight", "bias"))
    head = {"head.out_proj.weight": weight.float(), "head.out_proj.bias": (bias + labels.mean).float()}
    return {**tensors, **head}
