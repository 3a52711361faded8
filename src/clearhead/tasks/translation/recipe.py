"""What a translator is made of: its recipe, its tokenizers, its model, its loss."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from clearhead.config import Tree, parse
from clearhead.data.batching import sequential_batches
from clearhead.data.corpora.context import CONTEXT
from clearhead.data.corpora.joined import EncodedPairs
from clearhead.data.corpora.mixture import ParallelCorpus, copies, shares
from clearhead.data.corpus import DataConfig, ParallelFiles
from clearhead.data.loading import load
from clearhead.data.translation import Batch, BatchDataset
from clearhead.errors import UsageError
from clearhead.loss import LossConfig, linear_cross_entropy, passes_of, places_of, repeated
from clearhead.models.rnn import RNNConfig, RNNTranslator
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.gradient_recipe import WarmRecipe, adapt_layers
from clearhead.tasks.own import with_own
from clearhead.tasks.translation.corpora.directions import distinct
from clearhead.text.language import BleuTokenize, read_language
from clearhead.text.special import mark_of
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

Net = Transformer | RNNTranslator
WORDS = ("translation", "rnn_translation")


TOKENIZER_LINES = 250_000  # a tokenizer is trained on this many lines a side, evenly taken; it takes 0.5 KB for each


@dataclass(frozen=True)
class TranslationRecipe(WarmRecipe):
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
        super().__post_init__()
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

    def inherited(self) -> Tree:
        """See ``WarmRecipe``: the languages, how long a text may be, and what is read with a line."""
        data = {"max_len": self.data.max_len, **({"context": self.data.context} if self.data.context else {})}
        return super().inherited() | {"src": self.src, "tgt": self.tgt, "data": data}

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """The pairs of source and target language, as endings of files, each pair of languages once."""
        pairs = [(corpus.src, corpus.tgt) for corpus in self.data.corpora] or [(self.src, self.tgt)]
        return tuple(distinct(pairs).values())

    @property
    def leads(self) -> int:
        """How many pieces may stand before a source besides ``max_len``: a language's, and that of its kind of text."""
        kinds = [mark for mark in self.tokenizer.marks if mark != CONTEXT or not self.data.context]
        return bool(self.tokenizer.tags) + bool(kinds)

    @property
    def languages(self) -> str:
        """The directions as text."""
        return ", ".join(f"{src} to {tgt}" for src, tgt in self.directions)

    def bleu_of(self, tgt: str) -> BleuTokenize:
        """Returns sacreBLEU's tokenizer for every score of translations into a language that asks for no other one."""
        chosen = self.validation.tokenize
        return read_language(tgt).bleu_tokenize if chosen == "auto" else chosen


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
    given = recipe.start if "marks" in tree.get("tokenizer", {}) else ""
    try:
        return _with_languages(_with_context(recipe, given))
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from error


def _with_languages(recipe: TranslationRecipe) -> TranslationRecipe:
    """Returns the recipe with the languages of each corpus, and with the tags that they need in the vocabulary.

    Raises:
        ValueError: a language is missing, or the vocabulary of the model that training starts from has none such.
    """
    data, tags = recipe.data, recipe.tokenizer.tags
    corpora = [replace(each, src=each.src or recipe.src, tgt=each.tgt or recipe.tgt) for each in data.corpora]
    for corpus in corpora:
        if not corpus.src or not corpus.tgt:
            raise ValueError(f"data.corpora: the languages of {corpus.label!r} are not set; add src and tgt to it")
    if not corpora and not (recipe.src and recipe.tgt):
        raise ValueError("the languages are not set; add --src zh --tgt en, or src and tgt in the recipe")
    if tags and not corpora:  # the vocabulary of a model of several languages, which begins each source with one
        corpora = [ParallelCorpus(".", name=f"{recipe.src}-{recipe.tgt}", src=recipe.src, tgt=recipe.tgt)]
    recipe = replace(recipe, data=replace(data, corpora=tuple(corpora)))
    targets = list(dict.fromkeys(read_language(tgt).code for _, tgt in recipe.directions))
    if len(recipe.directions) == 1:
        recipe = replace(recipe, src=recipe.directions[0][0], tgt=recipe.directions[0][1])
    if len(targets) > 1 and not tags:
        if recipe.tokenizer.kind == "adopted":
            raise ValueError(f"data.corpora: to {', '.join(targets)}, but the vocabulary of the start has no tags")
        recipe = replace(recipe, tokenizer=replace(recipe.tokenizer, tags=tuple(targets)))
    if untold := set(targets) - set(tags) if tags else set():
        first, known = sorted(untold)[0], ", ".join(tags)
        raise ValueError(f"data.corpora: no tag for {first!r}, the vocabulary has {known}")
    recipe = _with_marks(recipe)
    if (leads := recipe.leads) and recipe.data.max_len + leads >= recipe.model.max_seq_len:
        what = "the tag of a language" if recipe.tokenizer.tags else "the tag of a corpus"
        raise ValueError(
            f"data.max_len = {recipe.data.max_len}: with {what if leads == 1 else 'both tags'} and an end mark must be "
            f"at most model.max_seq_len = {recipe.model.max_seq_len}"
        )
    return recipe


def _with_context(recipe: TranslationRecipe, start: str) -> TranslationRecipe:
    """Returns the recipe with the piece in the vocabulary that stands behind a context, if there is one.

    Args:
        recipe: as it is written.
        start: whose vocabulary it has, where it has another's.

    Raises:
        ValueError: the vocabulary is given, and has no such piece; or it has that meaning for a corpus.
    """
    marks = recipe.tokenizer.marks
    if not recipe.data.context:
        return recipe
    if any(corpus.tag == CONTEXT for corpus in recipe.data.corpora):
        raise ValueError(f"data.corpora: tag = {CONTEXT!r}: with data.context = 1 it is the piece behind a context")
    if CONTEXT in marks:
        return recipe
    if start or recipe.tokenizer.kind == "adopted":
        whose = f"that of start {start!r}" if start else "the adopted one"
        raise ValueError(f"data.context = 1: the vocabulary must have the piece {mark_of(CONTEXT)}, {whose} has none")
    return replace(recipe, tokenizer=replace(recipe.tokenizer, marks=(*marks, CONTEXT)))


def _with_marks(recipe: TranslationRecipe) -> TranslationRecipe:
    """Returns the recipe with the pieces in the vocabulary that stand before the sources of tagged corpora.

    Raises:
        ValueError: the vocabulary is given, and has no such piece.
    """
    marks = recipe.tokenizer.marks
    kinds = [mark for mark in marks if mark != CONTEXT or not recipe.data.context]
    asked = tuple(dict.fromkeys(corpus.tag for corpus in recipe.data.corpora if corpus.tag))
    if not (new := [kind for kind in asked if kind not in kinds]):
        return recipe
    if kinds or recipe.tokenizer.kind == "adopted":
        has = ", ".join(kinds) or "no tags"
        raise ValueError(f"data.corpora: tag = {new[0]!r}: the vocabulary has {has}")
    return replace(recipe, tokenizer=replace(recipe.tokenizer, marks=(*asked, *marks)))


def train_tokenizers(
    files: ParallelFiles, lines: int, config: TokenizerConfig, *, most: int = TOKENIZER_LINES
) -> TextParts:
    """Trains one joint tokenizer or two on at most ``most`` of the ``lines`` lines, evenly taken."""
    every = -(-lines // most)

    def side(index: int) -> Iterator[str]:
        texts = ((src, tgt) for _, src, tgt in files)
        return (pair[index] for pair in islice(texts, 0, None, every))

    return _trained(side, config)


def train_mixed_tokenizers(
    files: Sequence[ParallelFiles], lines: Sequence[int], config: TokenizerConfig, data: DataConfig
) -> TextParts:
    """Trains one joint tokenizer or two on the lines of several corpora, each of which gets its share.

    Args:
        files: of each corpus.
        lines: how many each has.
        config: what is trained.
        data: the corpora, with weights and temperature: see ``shares``. A small corpus is read several times.
    """
    taken = min(sum(lines), TOKENIZER_LINES)
    counts = [round(part * taken) for part in shares(lines, data.corpora, data.temperature)]

    def side(index: int) -> Iterator[str]:
        for corpus, size, count in zip(files, lines, counts, strict=True):
            for (_, *pair), times in zip(corpus, copies(count, size), strict=True):
                yield from [pair[index]] * times

    return _trained(side, config)


def _trained(side: Callable[[int], Iterator[str]], config: TokenizerConfig) -> TextParts:
    """Trains one joint tokenizer or two; ``side`` gives the lines of source (0) and target (1)."""
    if config.joint:
        joint = Tokenizer.train((text for index in (0, 1) for text in side(index)), config)
        return TextParts(joint, joint)
    return TextParts(Tokenizer.train(side(0), config), Tokenizer.train(side(1), config))


def build_translator(recipe: TranslationRecipe, sizes: ModelSizes) -> Net:
    """Builds the model with fresh weights, adapted where the recipe says so.

    Raises:
        UsageError: a size is wrong.
    """
    assert sizes.src_vocab_size is not None, "a translator reads pieces of its source"
    settings = {
        "src_vocab_size": sizes.src_vocab_size,
        "vocab_size": sizes.vocab_size,
        "pad_id": 0 if sizes.pad_id is None else sizes.pad_id,
    }
    model: Net
    try:
        if isinstance(recipe.model, RNNConfig):
            model = with_own(recipe.own, RNNTranslator, recipe.model, **settings)
        else:
            model = with_own(recipe.own, Transformer, recipe.model, **settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    adapt_layers(model, recipe.lora)
    return model


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
    passes = passes_of(model, config.consistency)
    src_ids, src_mask, tgt_ids, wanted = repeated(passes, batch.src_ids, batch.src_mask, batch.tgt_ids, batch.targets)
    tgt_mask = wanted.ne(model.pad_id) if model.needs_tgt_mask else None
    hidden = model.hidden(src_ids, tgt_ids, src_mask=src_mask, tgt_mask=tgt_mask)
    states, targets = hidden.flatten(0, 1), wanted.flatten()  # (batch seq) d_model, (batch seq)
    if batch.target_count * passes < len(targets):
        real = places_of(targets.ne(model.pad_id), batch.target_count * passes)
        states, targets = states.index_select(0, real), targets[real]  # real d_model, real
    head = model.lm_head
    return linear_cross_entropy(states, head.weight, targets, config, bias=head.bias, passes=passes)


@torch.inference_mode()
def mean_loss(model: Net, store: EncodedPairs, *, batch_tokens: int, device: torch.device) -> float:
    """Mean negative log-likelihood of all pairs in the store, in nats per target piece (end marks included)."""
    plan = sequential_batches(*store.lengths, batch_tokens=batch_tokens)
    total, count = 0.0, 0
    for batch in load(BatchDataset(store, plan)):
        summed, n = translation_loss(model, batch.to(device), LossConfig(label_smoothing=0.0))
        total, count = total + float(summed), count + n
    return total / count
