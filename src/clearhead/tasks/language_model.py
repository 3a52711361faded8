"""What a language model is made of: its recipe, its tokenizer, its model, its loss."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clearhead.checkpoint import LoadReport, load_checkpoint, load_matching, load_model_tensors, model_tensors
from clearhead.config import Tree, parse
from clearhead.data.documents import Documents, DocumentsConfig
from clearhead.data.stream import StreamBatch, TokenStream, chunks, evaluation_windows, loader
from clearhead.errors import ModelError, UsageError
from clearhead.loss import LossConfig, linear_cross_entropy
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.lora import LoraConfig, LoraLinear, add_lora, merge_lora
from clearhead.optim.build import OptimConfig
from clearhead.tasks.run import load_recipe
from clearhead.text.special import SPECIAL_IDS
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.train.config import TrainConfig, ValidationConfig
from clearhead.train.state import find_checkpoint

TOKENIZER_CHARACTERS = 50_000_000  # a tokenizer is trained on this much text at the most, from the top


def plain_loss() -> LossConfig:
    """Likelihood as it is: what perplexity is computed from."""
    return LossConfig(label_smoothing=0.0)


@dataclass(frozen=True)
class LanguageModelRecipe:
    """All that the training of a language model follows."""

    task: Literal["language_model"] = "language_model"
    """What is trained."""
    name: str = "gpt"
    """Names the run directory."""
    about: str = ""
    """One line on what the recipe is for."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How text becomes pieces."""
    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    """Which text is used."""
    model: GPTConfig = field(default_factory=GPTConfig)
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
    """A run whose model and vocabulary are trained further; sizes and tokenizer are then that run's."""
    lora: LoraConfig | None = None
    """Trains small products beside the layers of ``start`` in place of all weights."""

    def __post_init__(self) -> None:
        if self.train.batch_tokens < self.model.max_seq_len:
            raise ValueError(
                f"train.batch_tokens = {self.train.batch_tokens}: must be at least model.max_seq_len = "
                f"{self.model.max_seq_len}, one window"
            )
        if self.validation.monitor == "bleu":
            raise ValueError("validation.monitor = 'bleu': a language model is judged by 'loss'")
        if self.lora and not self.start:
            raise ValueError("lora: adapts a trained model; name its run with start (--from RUN)")
        if self.tokenizer.dropout:
            raise ValueError(f"tokenizer.dropout = {self.tokenizer.dropout}: a stream is encoded once, so it must be 0")


def parse_language_model(tree: Tree, source: str) -> LanguageModelRecipe:
    """Builds the recipe.

    Raises:
        UsageError: a key or value is wrong.
    """
    return parse(LanguageModelRecipe, tree, source=source)


def train_tokenizer(documents: Documents, config: TokenizerConfig) -> Tokenizer:
    """Trains a tokenizer on the documents, or on the first ``TOKENIZER_CHARACTERS`` of them."""

    def texts() -> Iterator[str]:
        taken = 0
        for document in documents:
            for text in chunks(document):
                yield text
                taken += len(text)
                if taken >= TOKENIZER_CHARACTERS:
                    return

    return Tokenizer.train(texts(), config)


def load_tokenizer(run: Path) -> Tokenizer:
    """Reads the tokenizer of a run."""
    return Tokenizer.load(run / "tokenizer" / "text.json")


def build_gpt(recipe: LanguageModelRecipe, tokenizer: Tokenizer) -> GPT:
    """Builds the model with fresh weights, adapted where the recipe says so."""
    model = GPT(recipe.model, vocab_size=tokenizer.vocab_size, pad_id=SPECIAL_IDS.pad)
    if recipe.lora:
        try:
            add_lora(model, recipe.lora)
        except ValueError as error:
            raise UsageError(str(error)) from error
    return model


def load_gpt(recipe: LanguageModelRecipe, tokenizer: Tokenizer, checkpoint: Path) -> GPT:
    """Builds the model of a run with the weights of a checkpoint, their average where it has one; LoRA is merged."""
    model, saved = build_gpt(recipe, tokenizer), load_checkpoint(checkpoint, ("model", "ema"))
    load_model_tensors(model, saved.tensors.get("ema", saved.tensors["model"]), f"checkpoint {str(checkpoint)!r}")
    merge_lora(model)
    return model


def started_from(recipe: LanguageModelRecipe) -> LanguageModelRecipe:
    """Returns the recipe with sizes and tokenizer of the run that it starts from; its dropout rates are kept.

    Raises:
        ModelError: ``start`` is not the run of a language model.
    """
    tree = load_recipe(Path(recipe.start))
    if tree.get("task") != "language_model":
        raise ModelError(
            f"start = {recipe.start!r}: a run of the task language_model is needed, not {tree.get('task')!r}"
        )
    source = parse_language_model(tree, f"recipe of run {recipe.start!r}")
    model = replace(source.model, dropout=recipe.model.dropout, embed_dropout=recipe.model.embed_dropout)
    return replace(recipe, model=model, tokenizer=source.tokenizer)


def take_weights(model: GPT, run: Path) -> LoadReport:
    """Copies the weights of the best checkpoint of ``run`` into ``model``, whose layers may be adapted.

    Raises:
        ModelError: the run has no checkpoint, or a tensor does not fit.
    """
    checkpoint = find_checkpoint(run)
    if checkpoint is None:
        raise ModelError(f"run {str(run)!r} has no checkpoint yet")
    recipe = parse_language_model(load_recipe(run), f"recipe of run {str(run)!r}")
    weights = model_tensors(load_gpt(recipe, load_tokenizer(run), checkpoint))
    adapted = {name for name, module in model.named_modules() if isinstance(module, LoraLinear)}

    def place(name: str) -> str:
        owner, _, part = name.rpartition(".")
        return f"{owner}.linear.{part}" if owner in adapted else name

    return load_matching(model, {place(name): tensor for name, tensor in weights.items()}, f"run {str(run)!r}")


def batch_loss(model: GPT, batch: StreamBatch, config: LossConfig, precision: str = "float32") -> tuple[Tensor, int]:
    """Returns (sum over targets that count, their number); the output layer sees their positions only."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        hidden = model.hidden(batch.ids, positions=batch.positions, documents=batch.document_ids)
    states, targets = hidden.flatten(0, 1).float(), batch.targets.flatten()  # (batch seq) d_model, (batch seq)
    if batch.target_count < len(targets):
        counted = targets.ne(SPECIAL_IDS.pad).nonzero()[:, 0]
        states, targets = states.index_select(0, counted), targets[counted]
    return linear_cross_entropy(states, model.lm_head.weight, targets, config)


@torch.inference_mode()
def total_loss(
    model: GPT, stream: TokenStream, *, stride: int, batch_tokens: int, isolated: bool, device: torch.device
) -> float:
    """Negative log-likelihood of a whole split in nats; windows as in ``evaluation_windows``."""
    context = model.config.max_seq_len
    windows = evaluation_windows(stream, context=context, stride=stride, batch_tokens=batch_tokens, isolated=isolated)
    return sum(float(batch_loss(model, batch.to(device), plain_loss())[0]) for batch in loader(windows))
