"""What a classifier is made of: its recipe, its labels, its tokenizer, its model, its loss, its scores."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from clearhead.checkpoint import load_checkpoint, load_model_tensors
from clearhead.config import Tree, parse
from clearhead.data.labelled import LabelledConfig, LabelledText, Labels
from clearhead.data.labelled_batches import LabelledBatch, LabelledRows, encode_labelled, evaluation_batches
from clearhead.data.loading import load
from clearhead.errors import ModelError, UsageError
from clearhead.evaluate.classification import (
    ClassificationScores,
    RegressionScores,
    score_classification,
    score_regression,
)
from clearhead.interop.folder import read_json
from clearhead.loss import cross_entropy, squared_error, weighted_cross_entropy
from clearhead.models.bert import BertClassifier, BertConfig, Pooling
from clearhead.nn.lora import LoraConfig, merge_lora
from clearhead.optim.build import OptimConfig, RateOf
from clearhead.runs.directory import save_json
from clearhead.tasks.gradient_recipe import adapt_layers
from clearhead.tasks.masked.recipe import masked_tokenizer
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.training.config import TrainConfig, ValidationConfig

Scores = ClassificationScores | RegressionScores


@dataclass(frozen=True)
class ClassifyLossConfig:
    """What training minimizes: cross-entropy of classes, the squared error of numbers."""

    label_smoothing: Annotated[float, Ge(0.0), Lt(1.0)] = 0.0
    """Share of probability spread evenly over the classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a line counts as much as its class is rare, lines / (classes x lines of its class)."""


@dataclass(frozen=True)
class FinetuneConfig:
    """How a trained encoder is carried over to the labels; ``start`` names it."""

    epochs: Annotated[int, Ge(0)] = 0
    """Passes over the training lines; train.max_steps may end the run before. With train.evaluate_every = 0 each pass
    is followed by an evaluation. 0 counts in steps alone."""
    frozen: bool = False
    """The encoder stays as it is, without dropout; the pooler and the output layer learn."""
    layer_decay: Annotated[float, Gt(0.0), Le(1.0)] = 1.0
    """Each layer learns at this share of the rate of the one above it, the embeddings the slowest."""
    unfreeze_every: Annotated[int, Ge(0)] = 0
    """The pooler and the output layer learn first, and after every so many steps one layer more, from the top; 0: all
    learn from the first step."""
    lora: LoraConfig | None = None
    """Trains small products beside the layers of the encoder in place of all its weights."""
    fresh: bool = False
    """Takes sizes and vocabulary of ``start`` alone: weights are drawn, and all of them learn at one rate, whatever the
    keys above say. What pretraining is worth is the difference."""
    pooling: Pooling = "first"
    """What stands for a whole text: the state of its first piece, [CLS], or the mean of all its states, which learns
    sooner where no pretraining on pairs made [CLS] a summary."""
    word_dropout: Annotated[float, Ge(0.0), Lt(1.0)] = 0.0
    """Probability of each piece of a training line to be hidden by [MASK], drawn anew in each pass; weights that are
    drawn learn by it too. Scores are of whole texts."""


@dataclass(frozen=True)
class ClassifyRecipe:
    """All that the training of a classifier follows."""

    task: Literal["classify"] = "classify"
    """What is trained."""
    name: str = "classify"
    """Names the run directory."""
    about: str = ""
    """One line on what the recipe is for."""
    tokenizer: TokenizerConfig = field(default_factory=masked_tokenizer)
    """How text becomes pieces."""
    data: LabelledConfig = field(default_factory=LabelledConfig)
    """Which lines are used."""
    model: BertConfig = field(default_factory=BertConfig)
    """Sizes and parts."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """How the encoder is carried over."""
    loss: ClassifyLossConfig = field(default_factory=ClassifyLossConfig)
    """What is minimized."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """By what means."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long and how much at a time."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """How the run is judged."""
    start: str = ""
    """A run (masked or classify), or a folder of Hugging Face's, whose encoder is fine-tuned; sizes and tokenizer are
    then its own, but for a ``max_seq_len`` that is set lower."""

    def __post_init__(self) -> None:
        tuned, number = self.finetune, self.data.kind == "number"
        self.validation.check("loss", *(("pearson", "spearman") if number else ("accuracy", "macro_f1", "matthews")))
        if number and self.loss != ClassifyLossConfig():
            raise ValueError("loss: class_weights and label_smoothing are for classes, data.kind = 'number' has none")
        if sum((tuned.frozen, tuned.unfreeze_every > 0, tuned.lora is not None)) > 1:
            raise ValueError("finetune: of frozen, unfreeze_every and lora only one may be set")
        if (tuned.frozen or tuned.unfreeze_every or tuned.lora or tuned.fresh) and not self.start:
            raise ValueError("finetune: is for a trained encoder; name it with start (--from RUN)")
        if self.tokenizer.kind != "adopted" and self.tokenizer.specials != "masked":
            raise ValueError("tokenizer.specials = 'sequence': an encoder needs 'masked', which has [CLS] and [SEP]")

    @property
    def tuned(self) -> FinetuneConfig:
        """``finetune`` where there are trained weights, else that of weights that are all drawn."""
        fresh = not self.start or self.finetune.fresh
        return FinetuneConfig(epochs=self.finetune.epochs) if fresh else self.finetune


def parse_classify(tree: Tree, source: str) -> ClassifyRecipe:
    """Builds the recipe; raises UsageError if a key or value is wrong."""
    return parse(ClassifyRecipe, tree, source=source)


def train_tokenizer(text: LabelledText, config: TokenizerConfig) -> Tokenizer:
    """Trains a tokenizer on the texts of all lines."""

    def texts() -> Iterator[str]:
        for line in text.lines:
            yield line.text
            yield line.pair or ""

    return Tokenizer.train(texts(), config)


def encode(text: LabelledText, recipe: ClassifyRecipe, tokenizer: Tokenizer) -> LabelledRows:
    """Encodes lines to the length of the model; raises DataError for one that is too long, if that is the policy."""
    length, overlong = recipe.model.max_seq_len, recipe.data.overlong
    return encode_labelled(text, tokenizer=tokenizer, max_seq_len=length, overlong=overlong)


def save_labels(labels: Labels, run: Path) -> None:
    """Keeps in the run what its output layer stands for."""
    save_json(run / "labels.json", asdict(labels))


def load_labels(run: Path) -> Labels:
    """Reads what the output layer of a run stands for; raises ModelError if it is missing or damaged."""
    path = run / "labels.json"
    try:
        return parse(Labels, read_json(path), source=repr(str(path)))
    except UsageError as error:
        raise ModelError(str(error)) from error


def build_classifier(recipe: ClassifyRecipe, tokenizer: Tokenizer, labels: Labels) -> BertClassifier:
    """Builds the model with fresh weights, adapted and frozen where the recipe says so."""
    if labels.pairs and recipe.model.n_segments < 2:
        raise UsageError(f"model.n_segments = {recipe.model.n_segments}: pairs of texts need 2")
    pad_id = None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad
    kind: Literal["sequence", "regression"] = "sequence" if labels.classes else "regression"
    vocab_size, n_labels = tokenizer.vocab_size, len(labels.classes) or 1
    pooling = recipe.finetune.pooling
    model = BertClassifier(
        recipe.model, vocab_size=vocab_size, kind=kind, n_labels=n_labels, pad_id=pad_id, pooling=pooling
    )
    return adapt(model, recipe.tuned)


def adapt(model: BertClassifier, tuned: FinetuneConfig) -> BertClassifier:
    """Freezes the encoder or adapts its layers, as ``tuned`` says; UsageError if no layer has such a name."""
    if tuned.frozen:
        model.bert.requires_grad_(False)
    adapt_layers(model.bert, tuned.lora)
    model.bert.pooler.requires_grad_(True)
    return model


def load_classifier(recipe: ClassifyRecipe, tokenizer: Tokenizer, labels: Labels, checkpoint: Path) -> BertClassifier:
    """Builds the model of a run with the weights of a checkpoint, their average where it has one; LoRA is merged."""
    model, saved = build_classifier(recipe, tokenizer, labels), load_checkpoint(checkpoint, ("model", "ema"))
    load_model_tensors(model, saved.tensors.get("ema", saved.tensors["model"]), f"checkpoint {str(checkpoint)!r}")
    merge_lora(model)
    return model


def depth_of(name: str, n_layers: int) -> int:
    """Returns how far below the output a parameter is: 0 in the head and the pooler, ``n_layers`` + 1 in the tables."""
    if name.startswith("bert.embedding."):
        return n_layers + 1
    if name.startswith("bert.layers."):
        return n_layers - int(name.split(".")[2])
    return 1 if name.startswith("bert.norm.") else 0


def rate_of(recipe: ClassifyRecipe) -> RateOf:
    """Returns the rates of layer-wise decay (Clark et al. 2020, arXiv:2003.10555, who take 0.8 to 0.9)."""
    return lambda name: recipe.tuned.layer_decay ** depth_of(name, recipe.model.n_layers)


def make_ready(model: nn.Module, step: int, recipe: ClassifyRecipe) -> None:
    """Says which parameters learn at a step of gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146)."""
    assert isinstance(model, BertClassifier)
    tuned = recipe.tuned
    if tuned.unfreeze_every:
        reached = (step - 1) // tuned.unfreeze_every
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(depth_of(name, recipe.model.n_layers) <= reached)
    if tuned.frozen:
        model.bert.eval()


@dataclass(frozen=True)
class Objective:
    """What is minimized on a batch."""

    labels: Labels
    label_smoothing: float = 0.0
    class_weights: Float[Tensor, " classes"] | None = None

    def loss_of(self, model: nn.Module, batch: LabelledBatch) -> tuple[Tensor, int]:
        """Returns (sum over lines, their number); numbers are in deviations from their mean."""
        out = model(batch.ids, mask=batch.mask, segments=batch.segments)
        if not self.labels.classes:
            return squared_error(out[:, 0], (batch.labels - self.labels.mean) / self.labels.deviation)
        settings = {"label_smoothing": self.label_smoothing}
        if self.class_weights is None:
            return cross_entropy(out, batch.labels, **settings)
        total, _ = weighted_cross_entropy(out, batch.labels, self.class_weights, **settings)
        return total, batch.target_count

    def weight_of(self, batch: LabelledBatch) -> float:
        """Returns what the sum is divided by: lines, or their weights."""
        weights = self.class_weights
        return float(batch.target_count if weights is None else weights[batch.labels].sum())


def class_weights(source: LabelledRows) -> Float[Tensor, " classes"]:
    """Returns the weight of each class by which all classes count alike; the mean over lines is 1."""
    counts = np.bincount(source.labels, minlength=len(source.classes))
    return torch.tensor(len(source.labels) / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32)


@torch.inference_mode()
def predict(
    model: nn.Module, source: LabelledRows, labels: Labels, *, batch_tokens: int
) -> Float[ndarray, "rows columns"]:
    """Returns for each line the probability of each class, or the number."""
    device = next(model.parameters()).device
    found = np.zeros((len(source.rows), len(labels.classes) or 1))
    for batch in load(evaluation_batches(source, batch_tokens=batch_tokens)):
        there = batch.to(device)
        out = model(there.ids, mask=there.mask, segments=there.segments).double()
        values = out.softmax(dim=1) if labels.classes else out * labels.deviation + labels.mean
        found[batch.indices.numpy()] = values.cpu().numpy()
    return found


def score(predicted: Float[ndarray, "rows columns"], source: LabelledRows, labels: Labels) -> Scores:
    """Scores what ``predict`` gave."""
    if labels.classes:
        return score_classification(predicted, source.labels, classes=labels.classes)
    return score_regression(predicted[:, 0], source.labels)


def monitored(scores: Scores, labels: Labels) -> dict[str, float]:
    """Returns the scores that a run is judged by; the loss is that of training without smoothing and weights."""
    if isinstance(scores, ClassificationScores):
        kept = ("accuracy", "macro_f1", "matthews")
        return {"loss": scores.nll, **{name: getattr(scores, name) for name in kept}}
    loss = scores.mse / labels.deviation**2
    return {"loss": loss, **{name: getattr(scores, name) for name in ("mse", "pearson", "spearman")}}


def sizes_of(config: BertConfig) -> str:
    """Returns what a model is, in a few words."""
    return f"encoder-only Transformer, {config.n_layers} layers, d_model {config.d_model}, at most {config.max_seq_len}"
