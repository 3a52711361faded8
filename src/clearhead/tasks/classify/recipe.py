"""The recipe, tokenizer and model of a classifier, and the learning rates of its layers."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from clearhead.config import Tree, parse
from clearhead.data.labels.labelled import LabelledConfig, LabelledText
from clearhead.data.labels.labelled_batches import LabelledRows, encode_labelled
from clearhead.errors import UsageError
from clearhead.models.bert import BertClassifier, BertConfig, Pooling
from clearhead.nn.lora import LoraConfig
from clearhead.optim.build import RateOf
from clearhead.ranges import CountOrZero, Epochs, LearningRate, OrderOrZero, Rate, ShareAboveZero, Vocabulary, Weight
from clearhead.runs.text_parts import ModelSizes
from clearhead.tasks.gradient_recipe import WarmRecipe, adapt_layers, with_lora_moved
from clearhead.tasks.masked.recipe import masked_tokenizer
from clearhead.tasks.own import with_own
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

WORDS = ("classify",)


@dataclass(frozen=True)
class ClassifyLossConfig:
    """The training loss: cross-entropy for classes, squared error for numbers."""

    label_smoothing: Rate = 0.0
    """Share of probability spread evenly over the classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a line of a rarer class has a larger weight, lines / (classes x lines of its class)."""
    consistency: Weight = 0.0
    """Weight of the divergence between two passes over each batch whose dropout differs (R-Drop, Liang et al. 2021):
    alpha there. Above 0 a step takes twice the time."""


@dataclass(frozen=True)
class FinetuneConfig:
    """How the trained encoder that ``start`` names is fine-tuned on the labels."""

    epochs: Epochs = 0
    """Passes over the training lines; train.max_steps may end the run sooner. With train.evaluate_every = 0 the model
    is evaluated after each pass. 0: train.max_steps alone sets the length."""
    frozen: bool = False
    """Trains the pooler and the output layer only; the encoder keeps its weights and runs without dropout."""
    layer_decay: ShareAboveZero = 1.0
    """Learning rate of each layer as a share of that of the layer above it; the embeddings have the lowest rate."""
    unfreeze_every: CountOrZero = 0
    """Trains the pooler and the output layer first, and unfreezes one more layer, from the top, after every so many
    steps; 0 trains all layers from the first step."""
    fresh: bool = False
    """Takes only the sizes and the vocabulary of ``start``, not its weights: all weights start at random and have one
    learning rate, whatever the keys above say. A comparison with such a run shows the gain of pretraining."""
    pooling: Pooling = "first"
    """Which vector represents a whole text: first, the state of its first piece, [CLS]; or mean, the mean of all its
    states, which learns faster if the encoder was not pretrained on pairs of sentences."""
    ngrams: OrderOrZero = 0
    """Pieces of the longest run that speaks for a label by itself: each run of 1 to so many pieces has a number for
    each label in a table, the numbers of a text are added up, and the mean of that and of what the encoder says counts.
    Each of the two learns by a loss of its own. For few or short texts, where such a linear model is hard to beat; also
    from scratch. 0: none."""
    ngram_rows: Vocabulary = 2**17
    """Rows of that table. A hash chooses the row of a run; runs that share one are not told apart."""
    ngram_lr: LearningRate = 5e-2
    """Learning rate of that table, where ``train.lr`` is that of all else: a row is in few lines."""
    word_dropout: Rate = 0.0
    """Probability with which [MASK] replaces each piece of a training line, drawn anew in each pass; it also applies
    with ``fresh``. Evaluation sees whole texts."""


@dataclass(frozen=True)
class ClassifyRecipe(WarmRecipe):
    """The recipe of a classifier."""

    task: Literal["classify"] = "classify"
    """The task that the model is trained for."""
    name: str = "classify"
    """Name of the recipe; its run directories are ``runs/NAME-NNN``."""
    tokenizer: TokenizerConfig = field(default_factory=masked_tokenizer)
    """The tokenizer, which cuts text into pieces."""
    data: LabelledConfig = field(default_factory=LabelledConfig)
    """The text: which files, and which of their lines are used."""
    model: BertConfig = field(default_factory=BertConfig)
    """The architecture: sizes and parts of the model."""
    loss: ClassifyLossConfig = field(default_factory=ClassifyLossConfig)
    """The loss that training minimizes."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """How the encoder is fine-tuned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tuned, number = self.finetune, self.data.kind == "number"
        self.validation.check("loss", *(("pearson", "spearman") if number else ("accuracy", "macro_f1", "matthews")))
        if number and replace(self.loss, consistency=0.0) != ClassifyLossConfig():
            raise ValueError("loss: class_weights and label_smoothing are for classes, data.kind = 'number' has none")
        if sum((tuned.frozen, tuned.unfreeze_every > 0, self.lora is not None)) > 1:
            raise ValueError("finetune: of frozen, unfreeze_every and lora only one may be set")
        if (tuned.frozen or tuned.unfreeze_every or tuned.fresh) and not self.start:
            raise ValueError("finetune: is for a trained encoder; name it with start (--from RUN)")
        if self.tokenizer.kind != "adopted" and self.tokenizer.specials != "masked":
            raise ValueError("tokenizer.specials = 'sequence': an encoder needs 'masked', which has [CLS] and [SEP]")

    def inherited(self) -> Tree:
        """See ``WarmRecipe``: what the output layer was trained with, and the size of the table beside the encoder."""
        kept = {key: getattr(self.finetune, key) for key in ("pooling", "ngrams", "ngram_rows")}
        return super().inherited() | {"finetune": kept}

    @property
    def tuned(self) -> FinetuneConfig:
        """``finetune`` for a trained encoder; for random weights its defaults and ``epochs``."""
        return FinetuneConfig(epochs=self.finetune.epochs) if self._drawn else self.finetune

    @property
    def adapted(self) -> LoraConfig | None:
        """``lora`` for a trained encoder, else None."""
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
    """Encodes lines; raises DataError for a line too long for the model if ``data.overlong`` is ``error``."""
    length, overlong = recipe.model.max_seq_len, recipe.data.overlong
    return encode_labelled(text, tokenizer=tokenizer, max_seq_len=length, overlong=overlong)


def build_classifier(recipe: ClassifyRecipe, sizes: ModelSizes) -> BertClassifier:
    """Builds the model with random weights; freezes its encoder or adds LoRA to its layers if the recipe says so.

    Raises:
        UsageError: the text has pairs and the model no segments, or ``lora`` names a layer that does not exist.
    """
    labels = sizes.labels
    assert labels is not None, "a classifier has labels"
    if labels.pairs and recipe.model.n_segments < 2:
        raise UsageError(f"model.n_segments = {recipe.model.n_segments}: pairs of texts need 2")
    model = with_own(
        recipe.own,
        BertClassifier,
        recipe.model,
        vocab_size=sizes.vocab_size,
        kind="sequence" if labels.classes else "regression",
        n_labels=len(labels.classes) or 1,
        pad_id=sizes.pad_id,
        pooling=recipe.finetune.pooling,
        ngrams=recipe.finetune.ngrams,
        ngram_rows=recipe.finetune.ngram_rows,
    )
    if recipe.tuned.frozen:
        model.bert.requires_grad_(False)
    adapt_layers(model.bert, recipe.adapted)
    model.bert.pooler.requires_grad_(True)
    return model


def depth_of(name: str, n_layers: int) -> int:
    """Returns a parameter's distance from the output: 0 for head and pooler, ``n_layers`` + 1 for the embeddings."""
    if name.startswith("bert.embedding."):
        return n_layers + 1
    if name.startswith("bert.layers."):
        return n_layers - int(name.split(".")[2])
    return 1 if name.startswith("bert.norm.") else 0


def rate_of(recipe: ClassifyRecipe) -> RateOf:
    """Returns the learning rate factors of layer-wise decay (Clark et al. 2020, arXiv:2003.10555, take 0.8 to 0.9)."""

    def factor(name: str) -> float:
        if name.startswith("ngrams."):
            return recipe.finetune.ngram_lr / recipe.train.lr
        return recipe.tuned.layer_decay ** depth_of(name, recipe.model.n_layers)

    return factor


def make_ready(model: nn.Module, step: int, recipe: ClassifyRecipe) -> None:
    """Unfreezes the parameters that learn at a step of gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146)."""
    assert isinstance(model, BertClassifier)
    tuned = recipe.tuned
    if tuned.unfreeze_every:
        reached = (step - 1) // tuned.unfreeze_every
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(depth_of(name, recipe.model.n_layers) <= reached)
    if tuned.frozen:
        model.bert.eval()


def classifier_sizes(config: BertConfig) -> str:
    """Describes a model in a few words."""
    return f"encoder-only Transformer, {config.n_layers} layers, d_model {config.d_model}, at most {config.max_seq_len}"
