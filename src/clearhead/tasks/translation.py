"""Training a translator: recipe, two text files, tokenizer, encoded pairs, model, loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from clearhead.config import Tree, as_tree, parse
from clearhead.data.batching import plan_batches, sequential_batches
from clearhead.data.corpus import DataConfig, ParallelFiles, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.data.translation import Batch, loader
from clearhead.errors import UsageError
from clearhead.loss import LossConfig, linear_cross_entropy
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.optim.build import OptimConfig, build_ema, build_optimizers
from clearhead.tasks.run import cache_folder, save_json, save_recipe
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.train.config import TrainConfig, ValidationConfig
from clearhead.train.loop import Work
from clearhead.train.state import TrainState

TOKENIZER_LINES = 1_000_000  # a tokenizer is trained on this many lines a side, evenly taken


@dataclass(frozen=True)
class TranslationRecipe:
    """All that a translation run follows."""

    task: Literal["translation"] = "translation"
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
    model: TransformerConfig = field(default_factory=TransformerConfig)
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
class Tokenizers:
    """One tokenizer for each side; the same object where the vocabulary is joint."""

    src: Tokenizer
    tgt: Tokenizer

    def save(self, run: Path) -> None:
        """Writes ``tokenizer/joint.json``, or ``src.json`` and ``tgt.json``, in the run."""
        (run / "tokenizer").mkdir(exist_ok=True)
        named = {"joint": self.src} if self.src is self.tgt else {"src": self.src, "tgt": self.tgt}
        for name, tokenizer in named.items():
            tokenizer.save(run / "tokenizer" / f"{name}.json")

    @classmethod
    def load(cls, run: Path) -> "Tokenizers":
        """Reads what ``save`` wrote."""
        folder = run / "tokenizer"
        if (folder / "joint.json").exists():
            joint = Tokenizer.load(folder / "joint.json")
            return cls(joint, joint)
        return cls(Tokenizer.load(folder / "src.json"), Tokenizer.load(folder / "tgt.json"))


@dataclass(frozen=True)
class Prepared:
    """A translation run with its data read and its model built, before the first step."""

    recipe: TranslationRecipe
    tokenizers: Tokenizers
    train: PairStore
    valid: PairStore
    state: TrainState
    device: torch.device


def parse_recipe(tree: Tree, source: str) -> TranslationRecipe:
    """Builds the recipe and asks for the two languages.

    Raises:
        UsageError: a key or value is wrong, or a language is missing.
    """
    recipe = parse(TranslationRecipe, tree, source=source)
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


def prepare_run(
    recipe: TranslationRecipe,
    folder: Path,
    device: torch.device,
    *,
    tokenizers: Tokenizers | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Reads the corpus in ``folder``, trains tokenizers (unless given), encodes, and builds model and optimizer.

    Raises:
        DataError: the text cannot be used.
    """
    files = {stem: _files(folder, stem, recipe) for stem in (recipe.data.train, recipe.data.valid)}
    train, valid = files[recipe.data.train], files[recipe.data.valid]
    tokenizers = tokenizers or train_tokenizers(train, train.scan()[0], recipe.tokenizer)
    src, tgt, cache = tokenizers.src, tokenizers.tgt, cache_folder() / "data"
    dropout = recipe.tokenizer.dropout > 0
    stores = [
        prepare(train, src=src, tgt=tgt, config=recipe.data, cache_dir=cache, keep_text=dropout, progress=progress),
        prepare(valid, src=src, tgt=tgt, config=replace(recipe.data, drop_duplicates=False), cache_dir=cache),
    ]
    longest = int(np.maximum(*stores[0].lengths).argmax())
    plan_batches(
        *(lengths[longest : longest + 1] for lengths in stores[0].lengths),
        batch_tokens=recipe.train.batch_tokens,
        seed=0,
        epoch=0,
    )  # a sentence above the budget is an error now, not in the middle of an epoch
    torch.manual_seed(recipe.train.seed)
    model = build_model(recipe, tokenizers).to(device)
    optimizers = build_optimizers(model, recipe.optim, recipe.train.lr)
    ema = build_ema(model, recipe.optim.ema_decay) if recipe.optim.ema_decay else None
    return Prepared(recipe, tokenizers, stores[0], stores[1], TrainState(model, optimizers, ema), device)


def build_model(recipe: TranslationRecipe, tokenizers: Tokenizers) -> Transformer:
    """Builds the model with fresh weights."""
    sizes = {"src_vocab_size": tokenizers.src.vocab_size, "vocab_size": tokenizers.tgt.vocab_size}
    return Transformer(recipe.model, pad_id=tokenizers.tgt.ids.pad, **sizes)


def batch_loss(model: Transformer, batch: Batch, config: LossConfig, precision: str = "float32") -> tuple[Tensor, int]:
    """Returns (sum over real targets, their number); the output layer sees real positions only."""
    kind = batch.src_ids.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
        tgt_mask = batch.targets.ne(model.pad_id) if model.needs_tgt_mask else None
        hidden = model.hidden(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask, tgt_mask=tgt_mask)
    targets = batch.targets.flatten()
    real = targets.ne(model.pad_id).nonzero()[:, 0]
    states = hidden.flatten(0, 1).float().index_select(0, real)  # (batch seq) d_model -> real d_model
    return linear_cross_entropy(states, model.lm_head.weight, targets[real], config)


@torch.inference_mode()
def mean_loss(model: Transformer, store: PairStore, *, batch_tokens: int, device: torch.device) -> float:
    """Mean negative log-likelihood of all pairs in the store, in nats per target piece (end marks included)."""
    plan = sequential_batches(*store.lengths, batch_tokens=batch_tokens)
    total, count = 0.0, 0
    for batch in loader(store, plan):
        summed, n = batch_loss(model, batch.to(device), LossConfig(label_smoothing=0.0))
        total, count = total + float(summed), count + n
    return total / count


def work_of(prepared: Prepared, evaluate_extra: Callable[[nn.Module], dict[str, float]]) -> Work[Batch]:
    """Gives the loop its batches, its loss and its evaluation."""
    recipe, device = prepared.recipe, prepared.device
    model, settings = prepared.state.model, recipe.train
    assert isinstance(model, Transformer)

    def batches(epoch: int, start: int) -> Iterator[Batch]:
        plan = plan_batches(
            *prepared.train.lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch
        )
        dropout = (prepared.tokenizers.src, prepared.tokenizers.tgt) if recipe.tokenizer.dropout else None
        batches = loader(
            prepared.train,
            plan,
            start=start,
            workers=recipe.data.workers,
            pin_memory=device.type == "cuda",
            dropout=dropout,
            max_len=recipe.data.max_len,
        )
        return (batch.to(device) for batch in batches)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Transformer)
        loss = mean_loss(model, prepared.valid, batch_tokens=settings.batch_tokens, device=device)
        return {"loss": loss, **evaluate_extra(model)}

    return Work(batches, lambda batch: batch_loss(model, batch, recipe.loss, settings.precision), evaluate)


def save_prepared(prepared: Prepared, run: Path) -> None:
    """Keeps recipe, tokenizers and data report in the run."""
    save_recipe(run, as_tree(prepared.recipe))
    prepared.tokenizers.save(run)
    reports = {"train": prepared.train.report, "valid": prepared.valid.report}
    save_json(run / "data-report.json", {split: report.as_dict() for split, report in reports.items()})


def _files(folder: Path, stem: str, recipe: TranslationRecipe) -> ParallelFiles:
    return read_parallel(folder, stem=stem, src=recipe.src, tgt=recipe.tgt)
