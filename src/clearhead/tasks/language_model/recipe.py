"""What a language model is made of: its recipe, its tokenizer, its model, its loss."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clearhead.config import Tree, parse
from clearhead.data.corpora.texts import read_texts, train_text_tokenizer
from clearhead.data.documents import DocumentsConfig, Split
from clearhead.data.loading import load
from clearhead.data.stream import (
    StreamBatch,
    TokenStream,
    evaluation_windows,
    prepare_stream,
)
from clearhead.loss import LossConfig, linear_cross_entropy, passes_of, places_of, plain_loss, repeated
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.rnn import RNNConfig, RNNLanguageModel
from clearhead.progress import Progress
from clearhead.runs.cache import cache_folder
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.gradient_recipe import WarmRecipe, adapt_layers, check_encoded_once
from clearhead.tasks.own import with_own
from clearhead.text.special import NO_TARGET
from clearhead.text.tokenizer import TokenizerConfig

Net = GPT | RNNLanguageModel
WORDS = ("language_model", "rnn_language_model")
SPLITS: tuple[Split, ...] = ("train", "valid")


@dataclass(frozen=True)
class LanguageModelRecipe(WarmRecipe):
    """All that the training of a language model follows, whatever its model."""

    task: Literal["language_model", "rnn_language_model"] = "language_model"
    """The task that the model is trained for."""
    name: str = "language_model"
    """Name of the recipe; its run directories are ``runs/NAME-NNN``."""
    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    """The text: which files, and how they are read."""
    model: GPTConfig | RNNConfig = field(default_factory=GPTConfig)
    """The architecture: sizes and parts of the model."""
    loss: LossConfig = field(default_factory=plain_loss)
    """The loss that training minimizes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.start:  # else the sizes are those of what it starts from
            self.check_started()
        self.validation.check("loss")
        check_encoded_once(self.tokenizer)

    def check_started(self) -> None:
        """Checks that a batch has room for a window; ValueError if it has not."""
        if self.train.batch_tokens < self.model.max_seq_len:
            raise ValueError(
                f"train.batch_tokens = {self.train.batch_tokens}: must be at least model.max_seq_len = "
                f"{self.model.max_seq_len}, one window"
            )


@dataclass(frozen=True)
class GPTRecipe(LanguageModelRecipe):
    """The recipe of a decoder-only Transformer."""

    task: Literal["language_model"] = "language_model"
    """The task that the model is trained for."""
    model: GPTConfig = field(default_factory=GPTConfig)
    """The architecture: sizes and parts of the model."""


@dataclass(frozen=True)
class RNNRecipe(LanguageModelRecipe):
    """The recipe of a recurrent language model."""

    task: Literal["rnn_language_model"] = "rnn_language_model"
    """The task that the model is trained for."""
    model: RNNConfig = field(default_factory=RNNConfig)
    """The architecture: sizes and parts of the model."""


def parse_language_model(tree: Tree, source: str) -> LanguageModelRecipe:
    """Builds the recipe of its task.

    Raises:
        UsageError: a key or value is wrong.
    """
    return parse(RNNRecipe if tree.get("task") == "rnn_language_model" else GPTRecipe, tree, source=source)


def read_streams(
    data: Path, config: DocumentsConfig, *, tokenizer: TokenizerConfig, known: TextParts | None, progress: Progress
) -> tuple[TextParts, TokenStream, TokenStream]:
    """Reads and encodes the train and the valid split.

    Args:
        data: a text file or a folder of them.
        config: which text.
        tokenizer: what is trained on it first.
        known: has a tokenizer that is used instead.
        progress: called with (characters encoded, characters in all).

    Raises:
        DataError: the text cannot be used.
    """
    train, valid = (read_texts(data, split=split, config=config) for split in SPLITS)
    parts = known or TextParts(train_text_tokenizer(train, tokenizer))
    encode = partial(prepare_stream, tokenizer=parts.tokenizer, cache_dir=cache_folder() / "data")
    return parts, encode(train, progress=progress), encode(valid)


def build_language_model(recipe: LanguageModelRecipe, sizes: ModelSizes) -> Net:
    """Builds the model with fresh weights, adapted where the recipe says so; UsageError if a size is wrong."""
    model: Net
    if isinstance(recipe.model, RNNConfig):
        model = with_own(recipe.own, RNNLanguageModel, recipe.model, vocab_size=sizes.vocab_size, pad_id=sizes.pad_id)
    else:
        model = with_own(recipe.own, GPT, recipe.model, vocab_size=sizes.vocab_size, pad_id=sizes.pad_id)
    adapt_layers(model, recipe.lora)
    return model


def language_model_sizes(config: GPTConfig | RNNConfig) -> str:
    """Describes a model in a few words."""
    kind = f"recurrent ({config.cell})" if isinstance(config, RNNConfig) else "decoder-only Transformer"
    return f"{kind}, {config.n_layers} layers, d_model {config.d_model}, context {config.max_seq_len}"


def language_model_loss(model: Net, batch: StreamBatch, config: LossConfig) -> tuple[Tensor, int]:
    """Returns (sum over targets that count, their number); the output layer sees their positions only."""
    passes, real = passes_of(model, config.consistency), batch.real if model.needs_mask else None
    rows = repeated(passes, batch.ids, real, batch.positions, batch.document_ids, batch.targets)
    ids, mask, positions, documents, wanted = rows
    hidden = model.hidden(ids, mask=mask, positions=positions, documents=documents)
    states, targets = hidden.flatten(0, 1), wanted.flatten()  # (batch seq) d_model, (batch seq)
    if batch.target_count * passes < len(targets):
        counted = places_of(targets.ne(NO_TARGET), batch.target_count * passes)
        states, targets = states.index_select(0, counted), targets[counted]
    head = model.lm_head
    return linear_cross_entropy(states, head.weight, targets, config, bias=head.bias, passes=passes)


@torch.inference_mode()
def total_loss(
    model: Net, stream: TokenStream, *, stride: int, batch_tokens: int, isolated: bool, device: torch.device
) -> float:
    """Negative log-likelihood of a whole split in nats; windows as in ``evaluation_windows``."""
    context = model.config.max_seq_len
    windows = evaluation_windows(stream, context=context, stride=stride, batch_tokens=batch_tokens, isolated=isolated)
    return sum(float(language_model_loss(model, batch.to(device), plain_loss())[0]) for batch in load(windows))
