"""What a classifier is made of: its recipe, its tokenizer, its model, and which of its parts learn at what rate."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from torch import nn

from clearhead.config import Tree, parse
from clearhead.data.labelled import LabelledConfig, LabelledText
from clearhead.data.labelled_batches import LabelledRows, encode_labelled
from clearhead.errors import UsageError
from clearhead.models.bert import BertClassifier, BertConfig, Pooling
from clearhead.nn.lora import LoraConfig
from clearhead.optim.build import RateOf
from clearhead.runs.text_parts import ModelSizes
from clearhead.tasks.gradient_recipe import WarmRecipe, adapt_layers, with_lora_moved
from clearhead.tasks.masked.recipe import masked_tokenizer
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

WORDS = ("classify",)


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
class ClassifyRecipe(WarmRecipe):
    """All that the training of a classifier follows."""

    task: Literal["classify"] = "classify"
    """What is trained."""
    name: str = "classify"
    """Names the run directory."""
    tokenizer: TokenizerConfig = field(default_factory=masked_tokenizer)
    """How text becomes pieces."""
    data: LabelledConfig = field(default_factory=LabelledConfig)
    """Which lines are used."""
    model: BertConfig = field(default_factory=BertConfig)
    """Sizes and parts."""
    loss: ClassifyLossConfig = field(default_factory=ClassifyLossConfig)
    """What is minimized."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """How the encoder is carried over."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tuned, number = self.finetune, self.data.kind == "number"
        self.validation.check("loss", *(("pearson", "spearman") if number else ("accuracy", "macro_f1", "matthews")))
        if number and self.loss != ClassifyLossConfig():
            raise ValueError("loss: class_weights and label_smoothing are for classes, data.kind = 'number' has none")
        if sum((tuned.frozen, tuned.unfreeze_every > 0, self.lora is not None)) > 1:
            raise ValueError("finetune: of frozen, unfreeze_every and lora only one may be set")
        if (tuned.frozen or tuned.unfreeze_every or tuned.fresh) and not self.start:
            raise ValueError("finetune: is for a trained encoder; name it with start (--from RUN)")
        if self.tokenizer.kind != "adopted" and self.tokenizer.specials != "masked":
            raise ValueError("tokenizer.specials = 'sequence': an encoder needs 'masked', which has [CLS] and [SEP]")

    @property
    def tuned(self) -> FinetuneConfig:
        """``finetune`` where there are trained weights, else that of weights that are all drawn."""
        return FinetuneConfig(epochs=self.finetune.epochs) if self._drawn else self.finetune

    @property
    def adapted(self) -> LoraConfig | None:
        """``lora`` where there are trained weights."""
        return None if self._drawn else self.lora

    @property
    def _drawn(self) -> bool:
        return not self.start or self.finetune.fresh


def parse_classify(tree: Tree, source: str) -> ClassifyRecipe:
    """Builds the recipe; raises UsageError if a key or value is wrong."""
    return parse(ClassifyRecipe, with_lora_moved(tree, "finetune", source), source=source)


def train_on_lines(text: LabelledText, config: TokenizerConfig) -> Tokenizer:
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


def build_classifier(recipe: ClassifyRecipe, sizes: ModelSizes) -> BertClassifier:
    """Builds the model with fresh weights; where the recipe says so, its encoder is frozen or its layers are adapted.

    Raises:
        UsageError: there are pairs of texts and no segments, or no layer has the name of one that is to be adapted.
    """
    labels = sizes.labels
    assert labels is not None, "a classifier has labels"
    if labels.pairs and recipe.model.n_segments < 2:
        raise UsageError(f"model.n_segments = {recipe.model.n_segments}: pairs of texts need 2")
    model = BertClassifier(
        recipe.model,
        vocab_size=sizes.vocab_size,
        kind="sequence" if labels.classes else "regression",
        n_labels=len(labels.classes) or 1,
        pad_id=sizes.pad_id,
        pooling=recipe.finetune.pooling,
    )
    if recipe.tuned.frozen:
        model.bert.requires_grad_(False)
    adapt_layers(model.bert, recipe.adapted)
    model.bert.pooler.requires_grad_(True)
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


def classifier_sizes(config: BertConfig) -> str:
    """Returns what a model is, in a few words."""
    return f"encoder-only Transformer, {config.n_layers} layers, d_model {config.d_model}, at most {config.max_seq_len}"
