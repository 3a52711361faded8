"""What a masked language model is made of: its recipe, its text, its model, its loss."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from clearhead.checkpoint import load_checkpoint, load_model_tensors
from clearhead.config import Tree, parse
from clearhead.data.documents import Documents, DocumentsConfig, read_documents
from clearhead.data.masked import MaskedBatch, MaskedText, Masker, masked_text
from clearhead.data.pairs import MaskedConfig
from clearhead.data.sentences import prepare_sentences
from clearhead.data.stream import train_tokenizer
from clearhead.loss import LossConfig, linear_cross_entropy, plain_loss, widened
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.nn.lora import LoraConfig, merge_lora
from clearhead.optim.build import OptimConfig
from clearhead.runs.cache import cache_folder
from clearhead.tasks.gradient_recipe import adapt_layers, check_encoded_once
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.training.config import TrainConfig, ValidationConfig
from clearhead.training.job import Progress


def masked_tokenizer() -> TokenizerConfig:
    """A vocabulary with [CLS], [SEP] and [MASK]."""
    return TokenizerConfig(specials="masked")


@dataclass(frozen=True)
class MaskedTask(MaskedConfig):
    """What a masked language model is trained on, and what of it learns."""

    lora: LoraConfig | None = None
    """Trains small products beside the layers of ``start`` in place of all its weights; the heads learn whole."""


@dataclass(frozen=True)
class MaskedRecipe:
    """All that the pretraining of a BERT follows."""

    task: Literal["masked"] = "masked"
    """What is trained."""
    name: str = "masked"
    """Names the run directory."""
    about: str = ""
    """One line on what the recipe is for."""
    tokenizer: TokenizerConfig = field(default_factory=masked_tokenizer)
    """How text becomes pieces; ``specials`` is ``masked`` whether or not it stands there."""
    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    """Which text is used."""
    masked: MaskedTask = field(default_factory=MaskedTask)
    """What is hidden in it, which sentences stand side by side, and which weights learn."""
    model: BertConfig = field(default_factory=BertConfig)
    """Sizes and parts."""
    loss: LossConfig = field(default_factory=plain_loss)
    """What is minimized, for masked pieces."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """By what means."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long and how much at a time."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """How the run is judged."""
    start: str = ""
    """A run, or a folder of Hugging Face's, whose model is trained further; sizes and tokenizer are then its own, but
    for a ``max_seq_len`` that is set lower."""

    def __post_init__(self) -> None:
        tokens, length = self.train.batch_tokens, self.model.max_seq_len
        if tokens < length and not self.start:
            raise ValueError(f"train.batch_tokens = {tokens}: must be at least model.max_seq_len = {length}, one row")
        self.validation.check("loss")
        specials = self.tokenizer.specials
        if self.tokenizer.kind != "adopted" and specials != "masked":
            raise ValueError(f"tokenizer.specials = {specials!r}: must be 'masked', which has [CLS], [SEP] and [MASK]")
        if self.masked.lora and not self.start:
            raise ValueError("lora: adapts a trained model; name it with start (--from RUN)")
        check_encoded_once(self.tokenizer)
        if self.data.packing != "cross":
            raise ValueError(f"data.packing = {self.data.packing!r}: rows of sentences are not packed, leave it out")
        if self.masked.next_sentence and self.model.n_segments < 2:
            raise ValueError(
                f"model.n_segments = {self.model.n_segments}: must be at least 2 with masked.next_sentence"
            )

    @property
    def row_length(self) -> int:
        """Longest row: what the model takes; of a trained one, whose size is given, at most what a batch holds."""
        return min(self.model.max_seq_len, self.train.batch_tokens)


def parse_masked(tree: Tree, source: str) -> MaskedRecipe:
    """Builds the recipe.

    Raises:
        UsageError: a key or value is wrong.
    """
    return parse(MaskedRecipe, tree, source=source)


def read_texts(
    data: Path, recipe: MaskedRecipe, *, known: Tokenizer | None, progress: Progress
) -> tuple[Tokenizer, MaskedText, MaskedText]:
    """Reads and encodes the train and the valid split, with a tokenizer trained on the first unless one is ``known``.

    Raises:
        DataError: the text cannot be used.
        UsageError: the tokenizer has not the marks, or rows are too short.
    """
    train, valid = (read_documents(data, split=split, config=recipe.data) for split in ("train", "valid"))
    tokenizer = known or train_tokenizer(train, recipe.tokenizer)
    return tokenizer, encode(train, tokenizer, recipe, progress=progress), encode(valid, tokenizer, recipe)


def encode(
    documents: Documents,
    tokenizer: Tokenizer,
    recipe: MaskedRecipe,
    *,
    progress: Progress = lambda done, total: None,
) -> MaskedText:
    """Encodes a split sentence by sentence, or opens what an earlier run encoded."""
    masker = Masker(tokenizer, recipe.masked)
    store = prepare_sentences(documents, tokenizer=tokenizer, cache_dir=cache_folder() / "data", progress=progress)
    return masked_text(store, masker=masker, max_seq_len=recipe.row_length)


def build_masked(recipe: MaskedRecipe, tokenizer: Tokenizer) -> BertPretraining:
    """Builds the model with fresh weights, adapted where the recipe says so.

    Without next-sentence prediction it has neither that head nor a pooler.
    """
    pad_id = None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad
    nsp = recipe.masked.next_sentence
    model = BertPretraining(recipe.model, vocab_size=tokenizer.vocab_size, pad_id=pad_id, nsp=nsp)
    return adapt(model, recipe.masked.lora)


def adapt(model: BertPretraining, lora: LoraConfig | None) -> BertPretraining:
    """Adapts the layers of the encoder; raises UsageError if none has such a name."""
    adapt_layers(model.bert, lora)
    model.bert.pooler.requires_grad_(True)
    return model


def load_masked(recipe: MaskedRecipe, tokenizer: Tokenizer, checkpoint: Path) -> BertPretraining:
    """Builds the model of a run with the weights of a checkpoint, their average where it has one; LoRA is merged."""
    model, saved = build_masked(recipe, tokenizer), load_checkpoint(checkpoint, ("model", "ema"))
    load_model_tensors(model, saved.tensors.get("ema", saved.tensors["model"]), f"checkpoint {str(checkpoint)!r}")
    merge_lora(model)
    return model


def sizes_of(config: BertConfig) -> str:
    """Returns what a model is, in a few words."""
    return f"encoder-only Transformer, {config.n_layers} layers, d_model {config.d_model}, rows of {config.max_seq_len}"


def nsp_targets(batch: MaskedBatch) -> Int[Tensor, " batch"]:
    """Returns which column of the next-sentence logits is right: 0 where B follows A, 1 where it is from elsewhere."""
    assert batch.next_labels is not None
    return 1 - batch.next_labels


def batch_loss(model: BertPretraining, batch: MaskedBatch, config: LossConfig) -> tuple[Float[Tensor, ""], int]:
    """Returns (sum, masked pieces); the output layer sees the masked positions only.

    The sum is the negative log-likelihood of every masked piece plus, for each of them, the next-sentence loss of its
    row. Divided by all masked pieces of a step it is mean(MLM) + mean(NSP), in whatever batches the rows came: the
    second mean gives a row the weight of its masked pieces, which are 15 % of its length, and the weights of a step
    add up to 1. With a row's weight fixed instead, steps on short rows would be about next sentences above all.
    """
    states = model.bert(batch.ids, mask=batch.mask, segments=batch.segments)
    features = model.mlm_head.features(states.flatten(0, 1).index_select(0, batch.positions))
    nsp = None if model.nsp_head is None else model.nsp_head(model.bert.pooler(states, batch.mask))
    table = model.mlm_head.out_proj
    total, count = linear_cross_entropy(features, table.weight, batch.targets, config, bias=table.bias)
    if nsp is not None:
        each = functional.cross_entropy(widened(nsp), nsp_targets(batch), reduction="none")
        total = total + torch.dot(each, _masked_in_rows(batch))
    return total, count


def _masked_in_rows(batch: MaskedBatch) -> Float[Tensor, " batch"]:
    """Returns how many pieces of each row are to be found."""
    marks = torch.zeros(batch.ids.numel(), device=batch.ids.device).index_fill_(0, batch.positions, 1.0)
    return marks.view_as(batch.ids).sum(dim=1)
