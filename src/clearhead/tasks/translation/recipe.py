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
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.gradient_recipe import GradientRecipe
from clearhead.text.language import BleuTokenize, read_language
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

Net = Transformer | RNNTranslator
WORDS = ("translation", "rnn_translation")


TOKENIZER_LINES = 250_000  # a tokenizer is trained on this many lines a side, evenly taken; it takes 0.5 KB for each


@dataclass(frozen=True)
class TranslationRecipe(GradientRecipe):
    """All that a translation run follows, whatever its model."""

    task: Literal["translation", "rnn_translation"] = "translation"
    """The task that the model is trained for."""
    name: str = "translation"
    """Name of the recipe; its run directories are ``runs/NAME-NNN``."""
    data: DataConfig = field(default_factory=DataConfig)
    """The text: which files, and which of their lines are used."""
    model: TransformerConfig | RNNConfig = field(default_factory=TransformerConfig)
    """The architecture: sizes and parts of the model."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The loss that training minimizes."""
    src: str = ""
    """Source language: the ending of its files."""
    tgt: str = ""
    """Target language."""

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

    @property
    def bleu_tokenize(self) -> BleuTokenize:
        """SacreBLEU's tokenizer for every score of the run that does not ask for another one."""
        chosen = self.validation.tokenize
        return read_language(self.tgt).bleu_tokenize if chosen == "auto" else chosen


@dataclass(frozen=True)
class TransformerRecipe(TranslationRecipe):
    """The recipe of a Transformer."""

    task: Literal["translation"] = "translation"
    """The task that the model is trained for."""
    model: TransformerConfig = field(default_factory=TransformerConfig)
    """The architecture: sizes and parts of the model."""


@dataclass(frozen=True)
class RNNTranslationRecipe(TranslationRecipe):
    """The recipe of what the Transformer replaced."""

    task: Literal["rnn_translation"] = "rnn_translation"
    """The task that the model is trained for."""
    model: RNNConfig = field(default_factory=RNNConfig)
    """The architecture: sizes and parts of the model."""


def parse_translation(tree: Tree, source: str) -> TranslationRecipe:
    """Builds the recipe of its task and asks for the two languages.

    Raises:
        UsageError: a key or value is wrong, or a language is missing.
    """
    recurrent = tree.get("task") == "rnn_translation"
    recipe = parse(RNNTranslationRecipe if recurrent else TransformerRecipe, tree, source=source)
    if not recipe.src or not recipe.tgt:
        raise UsageError(f"{source}: the languages are not set; add --src zh --tgt en, or src and tgt in the recipe")
    return recipe


def train_tokenizers(
    files: ParallelFiles, lines: int, config: TokenizerConfig, *, most: int = TOKENIZER_LINES
) -> TextParts:
    """Trains one joint tokenizer or two on at most ``most`` of the ``lines`` lines, evenly taken."""
    every = -(-lines // most)

    def side(index: int) -> Iterator[str]:
        texts = ((src, tgt) for _, src, tgt in files)
        return (pair[index] for pair in islice(texts, 0, None, every))

    if config.joint:
        joint = Tokenizer.train((text for index in (0, 1) for text in side(index)), config)
        return TextParts(joint, joint)
    return TextParts(Tokenizer.train(side(0), config), Tokenizer.train(side(1), config))


def build_translator(recipe: TranslationRecipe, sizes: ModelSizes) -> Net:
    """Builds the model with fresh weights.

    Raises:
        UsageError: a size is wrong.
    """
    assert sizes.src_vocab_size is not None, "a translator reads pieces of its source"
    settings = {
        "src_vocab_size": sizes.src_vocab_size,
        "vocab_size": sizes.vocab_size,
        "pad_id": 0 if sizes.pad_id is None else sizes.pad_id,
    }
    try:
        if isinstance(recipe.model, RNNConfig):
            return RNNTranslator(recipe.model, **settings)
        return Transformer(recipe.model, **settings)
    except ValueError as error:
        raise UsageError(str(error)) from error


def translator_sizes(config: TransformerConfig | RNNConfig) -> str:
    """Describes a model in a few words."""
    if isinstance(config, RNNConfig):
        return (
            f"recurrent encoder-decoder ({config.cell}, attention {config.attention}), "
            f"{config.n_layers} + {config.n_layers} layers, d_model {config.d_model}"
        )
    return (
        f"encoder-decoder Transformer, {config.n_encoder_layers} + {config.n_decoder_layers} layers, "
        f"d_model {config.d_model}"
    )


def translation_loss(model: Net, batch: Batch, config: LossConfig) -> tuple[Tensor, int]:
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
        summed, n = translation_loss(model, batch.to(device), LossConfig(label_smoothing=0.0))
        total, count = total + float(summed), count + n
    return total / count
