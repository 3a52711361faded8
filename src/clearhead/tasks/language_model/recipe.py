"""What a language model is made of: its recipe, its tokenizer, its model, its loss."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clearhead.checkpoint import load_checkpoint, load_model_tensors
from clearhead.config import Tree, parse
from clearhead.data.documents import DocumentsConfig, read_documents
from clearhead.data.loading import load
from clearhead.data.stream import (
    StreamBatch,
    TokenStream,
    evaluation_windows,
    prepare_stream,
    train_tokenizer,
)
from clearhead.loss import LossConfig, linear_cross_entropy, plain_loss
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.rnn import RNNConfig, RNNLanguageModel
from clearhead.nn.lora import LoraConfig, merge_lora
from clearhead.optim.build import OptimConfig
from clearhead.runs.cache import cache_folder
from clearhead.tasks.gradient_recipe import adapt_layers, check_encoded_once
from clearhead.text.special import ABSENT, NO_TARGET
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.training.config import TrainConfig, ValidationConfig
from clearhead.training.job import Progress

Net = GPT | RNNLanguageModel


@dataclass(frozen=True)
class LanguageModelRecipe:
    """All that the training of a language model follows, whatever its model."""

    task: Literal["language_model", "rnn_language_model"] = "language_model"
    """What is trained."""
    name: str = "language_model"
    """Names the run directory."""
    about: str = ""
    """One line on what the recipe is for."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How text becomes pieces."""
    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    """Which text is used."""
    model: GPTConfig | RNNConfig = field(default_factory=GPTConfig)
    """Sizes and parts."""
    loss: LossConfig = field(default_factory=plain_loss)
    """What is minimized."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """By what means."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long and how much at a time."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """How the run is judged."""
    start: str = ""
    """A run, or a folder of Hugging Face's, whose model is trained further; sizes and tokenizer are then its own, but
    for a ``max_seq_len`` that is set lower."""
    lora: LoraConfig | None = None
    """Trains small products beside the layers of ``start`` in place of all weights."""

    def __post_init__(self) -> None:
        if not self.start:  # else the sizes are those of what it starts from
            self.check_window()
        self.validation.check("loss")
        if self.lora and not self.start:
            raise ValueError("lora: adapts a trained model; name it with start (--from RUN)")
        check_encoded_once(self.tokenizer)

    def check_window(self) -> None:
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
    """What is trained."""
    model: GPTConfig = field(default_factory=GPTConfig)
    """Sizes and parts."""


@dataclass(frozen=True)
class RNNRecipe(LanguageModelRecipe):
    """The recipe of a recurrent language model."""

    task: Literal["rnn_language_model"] = "rnn_language_model"
    """What is trained."""
    model: RNNConfig = field(default_factory=RNNConfig)
    """Sizes and parts."""


def parse_language_model(tree: Tree, source: str) -> LanguageModelRecipe:
    """Builds the recipe of its task.

    Raises:
        UsageError: a key or value is wrong.
    """
    return parse(RNNRecipe if tree.get("task") == "rnn_language_model" else GPTRecipe, tree, source=source)


def read_streams(
    data: Path, config: DocumentsConfig, *, tokenizer: TokenizerConfig, known: Tokenizer | None, progress: Progress
) -> tuple[Tokenizer, TokenStream, TokenStream]:
    """Reads and encodes the train and the valid split.

    Args:
        data: a text file or a folder of them.
        config: which text.
        tokenizer: what is trained on it first.
        known: a tokenizer that is used instead.
        progress: called with (characters encoded, characters in all).

    Raises:
        DataError: the text cannot be used.
    """
    train, valid = (read_documents(data, split=split, config=config) for split in ("train", "valid"))
    learned = known or train_tokenizer(train, tokenizer)
    encode = partial(prepare_stream, tokenizer=learned, cache_dir=cache_folder() / "data")
    return learned, encode(train, progress=progress), encode(valid)


def build_net(recipe: LanguageModelRecipe, tokenizer: Tokenizer) -> Net:
    """Builds the model with fresh weights, adapted where the recipe says so."""
    model: Net
    pad_id = None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad
    if isinstance(recipe.model, RNNConfig):
        model = RNNLanguageModel(recipe.model, vocab_size=tokenizer.vocab_size, pad_id=pad_id)
    else:
        model = GPT(recipe.model, vocab_size=tokenizer.vocab_size, pad_id=pad_id)
    adapt_layers(model, recipe.lora)
    return model


def load_net(recipe: LanguageModelRecipe, tokenizer: Tokenizer, checkpoint: Path) -> Net:
    """Builds the model of a run with the weights of a checkpoint, their average where it has one; LoRA is merged."""
    model, saved = build_net(recipe, tokenizer), load_checkpoint(checkpoint, ("model", "ema"))
    load_model_tensors(model, saved.tensors.get("ema", saved.tensors["model"]), f"checkpoint {str(checkpoint)!r}")
    merge_lora(model)
    return model


def sizes_of(config: GPTConfig | RNNConfig) -> str:
    """Returns what a model is, in a few words."""
    kind = f"recurrent ({config.cell})" if isinstance(config, RNNConfig) else "decoder-only Transformer"
    return f"{kind}, {config.n_layers} layers, d_model {config.d_model}, context {config.max_seq_len}"


def batch_loss(model: Net, batch: StreamBatch, config: LossConfig) -> tuple[Tensor, int]:
    """Returns (sum over targets that count, their number); the output layer sees their positions only."""
    real = batch.real if model.needs_mask else None
    hidden = model.hidden(batch.ids, mask=real, positions=batch.positions, documents=batch.document_ids)
    states, targets = hidden.flatten(0, 1), batch.targets.flatten()  # (batch seq) d_model, (batch seq)
    if batch.target_count < len(targets):
        counted = targets.ne(NO_TARGET).nonzero()[:, 0]
        states, targets = states.index_select(0, counted), targets[counted]
    return linear_cross_entropy(states, model.lm_head.weight, targets, config, bias=model.lm_head.bias)


@torch.inference_mode()
def total_loss(
    model: Net, stream: TokenStream, *, stride: int, batch_tokens: int, isolated: bool, device: torch.device
) -> float:
    """Negative log-likelihood of a whole split in nats; windows as in ``evaluation_windows``."""
    context = model.config.max_seq_len
    windows = evaluation_windows(stream, context=context, stride=stride, batch_tokens=batch_tokens, isolated=isolated)
    return sum(float(batch_loss(model, batch.to(device), plain_loss())[0]) for batch in load(windows))
