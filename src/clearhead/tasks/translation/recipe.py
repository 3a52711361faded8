"""What a translator is made of: its recipe, its tokenizers, its model, its loss."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from clearhead.config import Tree, parse
from clearhead.data.batching import sequential_batches
from clearhead.data.corpus import DataConfig, ParallelFiles
from clearhead.data.loading import load
from clearhead.data.store import PairStore
from clearhead.data.translation import Batch, BatchDataset
from clearhead.errors import UsageError
from clearhead.loss import LossConfig, linear_cross_entropy
from clearhead.models.rnn import RNNConfig, RNNTranslator
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.optim.build import OptimConfig
from clearhead.runs.tokenizers import Tokenizers
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.training.config import TrainConfig, ValidationConfig

Net = Transformer | RNNTranslator


TOKENIZER_LINES = 250_000  # a tokenizer is trained on this many lines a side, evenly taken; it takes 0.5 KB for each


@dataclass(frozen=True)
class TranslationRecipe:
    """All that a translation run follows, whatever its model."""

    task: Literal["translation", "rnn_translation"] = "translation"
    """What is trained."""
    name: str = "translation"
    """Names the run directory."""
    about: str = ""
    """One line on what the recipe is for."""
    src: str = ""
    """Source language: the ending of its files."""
    tgt: str = ""
    """Target language."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How text becomes pieces."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which lines are used."""
    model: TransformerConfig | RNNConfig = field(default_factory=TransformerConfig)
    """Sizes and parts."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What is minimized."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """By what means."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long and how much at a time."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """How the run is judged."""

    def __post_init__(self) -> None:
        self.validation.check("loss", "bleu")
        if self.data.max_len >= self.model.max_seq_len:
            raise ValueError(
                f"data.max_len = {self.data.max_len}: must be below model.max_seq_len = {self.model.max_seq_len}, "
                "which counts the begin or end mark too"
            )
        if self.model.tie == "all" and not self.tokenizer.joint:
            raise ValueError(
                "model.tie = 'all': needs tokenizer.joint = true; use tie = 'decoder' with two vocabularies"
            )


@dataclass(frozen=True)
class TransformerRecipe(TranslationRecipe):
    """The recipe of a Transformer."""

    task: Literal["translation"] = "translation"
    """What is trained."""
    model: TransformerConfig = field(default_factory=TransformerConfig)
    """Sizes and parts."""


@dataclass(frozen=True)
class RNNTranslationRecipe(TranslationRecipe):
    """The recipe of what the Transformer replaced."""

    task: Literal["rnn_translation"] = "rnn_translation"
    """What is trained."""
    model: RNNConfig = field(default_factory=RNNConfig)
    """Sizes and parts."""


def parse_recipe(tree: Tree, source: str) -> TranslationRecipe:
    """Builds the recipe of its task and asks for the two languages.

    Raises:
        UsageError: a key or value is wrong, or a language is missing.
    """
    recurrent = tree.get("task") == "rnn_translation"
    recipe = parse(RNNTranslationRecipe if recurrent else TransformerRecipe, tree, source=source)
    if not recipe.src or not recipe.tgt:
        raise UsageError(f"{source}: the languages are not set; add --src zh --tgt en, or src and tgt in the recipe")
    return recipe


def train_tokenizers(files: ParallelFiles, lines: int, config: TokenizerConfig) -> Tokenizers:
    """Trains one joint tokenizer or two on at most ``TOKENIZER_LINES`` of the ``lines`` lines, evenly taken."""
    every = -(-lines // TOKENIZER_LINES)

    def side(index: int) -> Iterator[str]:
        texts = ((src, tgt) for _, src, tgt in files)
        return (pair[index] for pair in islice(texts, 0, None, every))

    if config.joint:
        joint = Tokenizer.train((text for index in (0, 1) for text in side(index)), config)
        return Tokenizers(joint, joint)
    return Tokenizers(Tokenizer.train(side(0), config), Tokenizer.train(side(1), config))


def build_model(recipe: TranslationRecipe, tokenizers: Tokenizers) -> Net:
    """Builds the model with fresh weights.

    Raises:
        UsageError: a size is wrong.
    """
    sizes = {"src_vocab_size": tokenizers.src.vocab_size, "vocab_size": tokenizers.tgt.vocab_size}
    try:
        if isinstance(recipe.model, RNNConfig):
            return RNNTranslator(recipe.model, pad_id=tokenizers.tgt.ids.pad, **sizes)
        return Transformer(recipe.model, pad_id=tokenizers.tgt.ids.pad, **sizes)
    except ValueError as error:
        raise UsageError(str(error)) from error


def sizes_of(config: TransformerConfig | RNNConfig) -> str:
    """Returns what a model is, in a few words."""
    if isinstance(config, RNNConfig):
        kind = f"recurrent encoder-decoder ({config.cell}, attention {config.attention})"
        return f"{kind}, {config.n_layers} + {config.n_layers} layers, d_model {config.d_model}"
    layers = f"{config.n_encoder_layers} + {config.n_decoder_layers} layers"
    return f"encoder-decoder Transformer, {layers}, d_model {config.d_model}"


def batch_loss(model: Net, batch: Batch, config: LossConfig) -> tuple[Tensor, int]:
    """Returns (sum over real targets, their number); the output layer sees real positions only."""
    tgt_mask = batch.targets.ne(model.pad_id) if model.needs_tgt_mask else None
    hidden = model.hidden(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask, tgt_mask=tgt_mask)
    states, targets = hidden.flatten(0, 1), batch.targets.flatten()  # (batch seq) d_model, (batch seq)
    if batch.target_count < len(targets):
        real = targets.ne(model.pad_id).nonzero()[:, 0]
        states, targets = states.index_select(0, real), targets[real]  # real d_model, real
    return linear_cross_entropy(states, model.lm_head.weight, targets, config, bias=model.lm_head.bias)


@torch.inference_mode()
def mean_loss(model: Net, store: PairStore, *, batch_tokens: int, device: torch.device) -> float:
    """Mean negative log-likelihood of all pairs in the store, in nats per target piece (end marks included)."""
    plan = sequential_batches(*store.lengths, batch_tokens=batch_tokens)
    total, count = 0.0, 0
    for batch in load(BatchDataset(store, plan)):
        summed, n = batch_loss(model, batch.to(device), LossConfig(label_smoothing=0.0))
        total, count = total + float(summed), count + n
    return total / count
