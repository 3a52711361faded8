"""The encoder that fine-tuning starts from: that of a run, or of a folder in Hugging Face's layout."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from clearhead.checkpoint import LoadReport, model_tensors
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError
from clearhead.interop.bert import BertReport, bert_from_hugging_face
from clearhead.interop.folder import read_config, read_tensors
from clearhead.interop.tokenizer import read_tokenizer
from clearhead.models.bert import BertConfig
from clearhead.runs.text_parts import ModelSizes, TextParts, load_labelled_parts, load_text_parts
from clearhead.tasks.classify.recipe import WORDS, build_classifier, parse_classify
from clearhead.tasks.expanded import open_run
from clearhead.tasks.masked.recipe import WORDS as MASKED_WORDS
from clearhead.tasks.masked.recipe import build_masked, parse_masked
from clearhead.tasks.room import build_to_load
from clearhead.tasks.warm_start import Start, copy_weights, is_bare_folder


@dataclass(frozen=True)
class EncoderStart(Start):
    """A trained encoder; ``tensors`` has the names of ``BertClassifier``, and may have heads a classifier lacks."""

    left: tuple[str, ...] = ()
    """Tensors of a folder that are not part of the encoder."""

    def load_into(self, model: nn.Module, sizes: ModelSizes) -> LoadReport:
        """See ``Start``: copies the encoder, and the output layer if it was trained on the same labels.

        A table of n-grams with another number of rows is left with what was trained on other labels.
        """
        labels, known = sizes.labels, self.parts.labels
        if known is not None and known.pairs is None and labels is not None:
            known = replace(known, pairs=labels.pairs)
        head = {name for name in self.tensors if name.startswith(("head.", "ngrams.")) and known != labels}
        shapes = {name: own.shape for name, own in model_tensors(model).items() if name.startswith("ngrams.")}
        head |= {name for name, shape in shapes.items() if name in self.tensors and self.tensors[name].shape != shape}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name not in head}
        report = copy_weights(model, tensors, self.source)
        return replace(report, left=sorted([*report.left, *head, *self.left]))


def open_encoder(path: Path) -> EncoderStart:
    """Opens the encoder that ``--from`` names.

    Args:
        path: a run of the task masked or classify, or a BERT in a folder in Hugging Face's layout.

    Raises:
        ModelError: it is neither, has no checkpoint, is damaged, or cannot be read.
    """
    if is_bare_folder(path):
        return _from_folder(path)
    run, source = open_run(path), f"run {str(path)!r}"
    if run.task in WORDS:
        recipe, parts = parse_classify(run.tree, run.source), load_labelled_parts(run.trained_path)
        model = build_to_load(build_classifier, recipe, parts.sizes)
        run.load_into(model)
        return EncoderStart(source, recipe.model, parts, model_tensors(model), inherited=recipe.inherited())
    if run.task in MASKED_WORDS:
        pretrained, parts = parse_masked(run.tree, run.source), load_text_parts(run.trained_path)
        encoder = build_to_load(build_masked, pretrained, parts.sizes)
        run.load_into(encoder)
        own = pretrained.own.inherited(by_another=True) if pretrained.own else {}
        return EncoderStart(source, pretrained.model, parts, model_tensors(encoder), inherited=own)
    needed = " or ".join((*MASKED_WORDS, *WORDS))
    raise ModelError(f"start = {str(path)!r}: a run of the task {needed} is needed, not {run.task!r}")


def labels_of(report: BertReport, config: BertConfig) -> Labels:
    """Returns the labels of an imported classifier; its folder does not say whether it was trained on pairs."""
    classes = () if report.kind == "regression" else report.labels
    return Labels(classes, pairs=None if config.n_segments > 1 else False)


def _from_folder(folder: Path) -> EncoderStart:
    config, theirs = read_config(folder), read_tensors(folder)
    model, tensors, report = bert_from_hugging_face(config, theirs, kind="pooled")
    tokenizer, source = read_tokenizer(folder, config, report.vocab_size), repr(str(folder))
    if {"classifier.weight", "bert.pooler.dense.weight"} <= theirs.keys():
        model, tensors, report = bert_from_hugging_face(config, theirs)
        parts = TextParts(tokenizer, labels=labels_of(report, model))
        return EncoderStart(source, model, parts, tensors, report.left)
    inside = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    return EncoderStart(source, model, TextParts(tokenizer), inside, report.left)
