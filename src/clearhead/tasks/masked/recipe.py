"""The recipe, text, model and loss of a masked language model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from clearhead.config import Tree, as_tree, parse
from clearhead.data.documents import Documents, DocumentsConfig, read_documents
from clearhead.data.masked import MaskedBatch, MaskedText, Masker, masked_text
from clearhead.data.pairs import MaskedConfig
from clearhead.data.sentences import prepare_sentences
from clearhead.data.stream import train_tokenizer
from clearhead.loss import LossConfig, linear_cross_entropy, passes_of, plain_loss, repeated, widened
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.models.embedding import EmbeddingConfig
from clearhead.progress import Progress, silent
from clearhead.runs.cache import cache_folder
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.gradient_recipe import WarmRecipe, adapt_layers, check_encoded_once, with_lora_moved
from clearhead.tasks.own import with_own
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

WORDS = ("masked",)


def masked_tokenizer() -> TokenizerConfig:
    """A vocabulary with [CLS], [SEP] and [MASK]."""
    return TokenizerConfig(specials="masked")


@dataclass(frozen=True)
class MaskedRecipe(WarmRecipe):
    """The recipe of a BERT's pretraining."""

    task: Literal["masked"] = "masked"
    """The task that the model is trained for."""
    name: str = "masked"
    """Name of the recipe; its run directories are ``runs/NAME-NNN``."""
    tokenizer: TokenizerConfig = field(default_factory=masked_tokenizer)
    """The tokenizer, which cuts text into pieces; ``specials`` is ``masked`` also where the recipe leaves it out."""
    data: DocumentsConfig = field(default_factory=DocumentsConfig)
    """The text: which files, and how they are read."""
    model: BertConfig = field(default_factory=BertConfig)
    """The architecture: sizes and parts of the model."""
    loss: LossConfig = field(default_factory=plain_loss)
    """The loss of the masked pieces, which training minimizes."""
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    """Which pieces are masked, and how pairs of sentences are made."""
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    """How ``clearhead embed`` makes a vector of a text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tokens, length = self.train.batch_tokens, self.model.max_seq_len
        if tokens < length and not self.start:
            raise ValueError(f"train.batch_tokens = {tokens}: must be at least model.max_seq_len = {length}, one row")
        self.validation.check("loss")
        specials = self.tokenizer.specials
        if self.tokenizer.kind != "adopted" and specials != "masked":
            raise ValueError(f"tokenizer.specials = {specials!r}: must be 'masked', which has [CLS], [SEP] and [MASK]")
        check_encoded_once(self.tokenizer)
        self.data.check_single()
        if self.data.packing != "cross":
            raise ValueError(f"data.packing = {self.data.packing!r}: rows of sentences are not packed, leave it out")
        if self.masked.next_sentence and self.model.n_segments < 2:
            raise ValueError(
                f"model.n_segments = {self.model.n_segments}: must be at least 2 with masked.next_sentence"
            )

    def inherited(self) -> Tree:
        """See ``WarmRecipe``: what its vectors are."""
        return super().inherited() | {"embedding": as_tree(self.embedding)}

    @property
    def row_length(self) -> int:
        """The longest row: ``max_seq_len``, or ``batch_tokens`` if an imported model's context is larger."""
        return min(self.model.max_seq_len, self.train.batch_tokens)


def parse_masked(tree: Tree, source: str) -> MaskedRecipe:
    """Builds the recipe.

    Raises:
        UsageError: a key or value is wrong.
    """
    return parse(MaskedRecipe, with_lora_moved(tree, "masked", source), source=source)


def read_texts(
    data: Path, recipe: MaskedRecipe, known: TextParts | None, progress: Progress
) -> tuple[TextParts, MaskedText, MaskedText]:
    """Reads and encodes the train and the valid split, with the ``known`` tokenizer or a new one trained on the first.

    Raises:
        DataError: the text cannot be used.
        UsageError: the tokenizer lacks [CLS], [SEP] or [MASK], or rows are too short.
    """
    train, valid = (read_documents(data, split=split, config=recipe.data) for split in ("train", "valid"))
    parts = known or TextParts(train_tokenizer(train, recipe.tokenizer))
    tokenizer = parts.tokenizer
    return parts, encode(train, tokenizer, recipe, progress=progress), encode(valid, tokenizer, recipe)


def encode(
    documents: Documents,
    tokenizer: Tokenizer,
    recipe: MaskedRecipe,
    *,
    progress: Progress = silent,
    cache_dir: Path | None = None,
) -> MaskedText:
    """Encodes a split sentence by sentence, or reads it from ``cache_dir``; None is the cache of all runs."""
    masker = Masker(tokenizer, recipe.masked)
    place = cache_dir or cache_folder() / "data"
    store = prepare_sentences(documents, tokenizer=tokenizer, cache_dir=place, progress=progress)
    return masked_text(store, masker=masker, max_seq_len=recipe.row_length)


def build_masked(recipe: MaskedRecipe, sizes: ModelSizes) -> BertPretraining:
    """Builds the model with random weights, and adds LoRA to its encoder if the recipe says so.

    Without next-sentence prediction it has neither that head nor a pooler. Raises UsageError if ``lora`` names a layer
    that does not exist.
    """
    nsp = recipe.masked.next_sentence
    words = {"vocab_size": sizes.vocab_size, "pad_id": sizes.pad_id, "nsp": nsp}
    model = with_own(recipe.own, BertPretraining, recipe.model, **words)
    adapt_layers(model.bert, recipe.lora)
    model.bert.pooler.requires_grad_(True)
    return model


def masked_sizes(config: BertConfig) -> str:
    """Describes a model in a few words."""
    return f"encoder-only Transformer, {config.n_layers} layers, d_model {config.d_model}, rows of {config.max_seq_len}"


def nsp_targets(batch: MaskedBatch) -> Int[Tensor, " batch"]:
    """Returns the right column of the next-sentence logits: 0 where B follows A, 1 where B is a random sentence."""
    assert batch.next_labels is not None
    return 1 - batch.next_labels


def masked_loss(model: BertPretraining, batch: MaskedBatch, config: LossConfig) -> tuple[Float[Tensor, ""], int]:
    """Returns (sum, masked pieces); the output layer sees the masked positions only.

    The sum is the negative log-likelihood of every masked piece plus, for each of them, the next-sentence loss of its
    row. Divided by all masked pieces of a step it is mean(MLM) + mean(NSP), in whatever batches the rows came: the
    second mean gives a row the weight of its masked pieces, which are 15 % of its length, and the weights of a step
    add up to 1. With a row's weight fixed instead, steps on short rows would be about next sentences above all.
    """
    passes = passes_of(model, config.consistency)
    ids, mask, segments, targets = repeated(passes, batch.ids, batch.mask, batch.segments, batch.targets)
    states = model.bert(ids, mask=mask, segments=segments)
    positions = torch.cat([batch.positions + number * batch.ids.numel() for number in range(passes)])
    features = model.mlm_head.features(states.flatten(0, 1).index_select(0, positions))
    nsp = None if model.nsp_head is None else model.nsp_head(model.bert.pooler(states, mask))
    table = model.mlm_head.out_proj
    total, count = linear_cross_entropy(features, table.weight, targets, config, bias=table.bias, passes=passes)
    if nsp is not None:
        labels, weights = repeated(passes, nsp_targets(batch), _masked_in_rows(batch))
        each = functional.cross_entropy(widened(nsp), labels, reduction="none")
        total = total + torch.dot(each, weights) / passes
    return total, count


def _masked_in_rows(batch: MaskedBatch) -> Float[Tensor, " batch"]:
    """Returns how many pieces of each row are masked."""
    marks = torch.zeros(batch.ids.numel(), device=batch.ids.device).index_fill_(0, batch.positions, 1.0)
    return marks.view_as(batch.ids).sum(dim=1)
