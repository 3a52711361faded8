"""The training of a translator: two text files, tokenizers, encoded pairs, model, batches, scores, model card."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clearhead.config import Tree
from clearhead.data.batching import BatchPlan, largest_batch, plan_batches
from clearhead.data.corpus import CorpusReport, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.data.translation import Batch, BatchDataset
from clearhead.runs.cache import cache_folder
from clearhead.runs.tokenizers import Tokenizers
from clearhead.tasks.translation.recipe import (
    Net,
    TranslationRecipe,
    batch_loss,
    build_model,
    mean_loss,
    parse_recipe,
    sizes_of,
    train_tokenizers,
)
from clearhead.tasks.translation.scoring import greedy_bleu
from clearhead.training.device import pick_device
from clearhead.training.job import GradientJob, Progress, fresh_state, named
from clearhead.training.loop import Work


@dataclass(frozen=True)
class TranslationJob(GradientJob):
    """See ``GradientJob``."""

    recipe: TranslationRecipe
    tokenizers: Tokenizers
    train: PairStore
    valid: PairStore

    @property
    def model(self) -> Net:
        """The model in training."""
        assert isinstance(self.state.model, Net)
        return self.state.model

    def work(self) -> Work[Batch]:
        """See ``GradientJob``."""
        recipe, model = self.recipe, self.model
        settings = recipe.train

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, Net)
            loss = mean_loss(model, self.valid, batch_tokens=settings.batch_tokens, device=self.device)
            if recipe.validation.monitor != "bleu":
                return {"loss": loss}
            count = recipe.validation.max_sentences or len(self.valid)
            bleu = greedy_bleu(recipe, self.tokenizers, model, self.valid, device=self.device, count=count)
            return {"loss": loss, "bleu": bleu}

        def where(batch: Batch) -> str:
            return named("lines", self.train.line_numbers[batch.indices.cpu().numpy()].tolist())

        return Work(self.batches, lambda batch: batch_loss(model, batch, recipe.loss), evaluate, where=where)

    def reports(self) -> dict[str, CorpusReport]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``."""
        src, tgt = self.tokenizers.src, self.tokenizers.tgt
        if src is tgt:
            return f"{src.vocab_size:,} pieces for both languages"
        return f"{src.vocab_size:,} + {tgt.vocab_size:,} pieces"

    def save_text_parts(self, run: Path) -> None:
        """See ``Job``."""
        self.tokenizers.save(run)

    def build(self) -> Net:
        """See ``GradientJob``."""
        return build_model(self.recipe, self.tokenizers)

    @property
    def width(self) -> int:
        """See ``GradientJob``; BPE-dropout cuts into more pieces, up to the longest that is allowed."""
        longest = int(np.maximum(*self.train.lengths).max())
        return (self.recipe.data.max_len if self.recipe.tokenizer.dropout else longest) + 1

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        plan = self._plan(0)
        return plan, largest_batch(plan, np.maximum(*self.train.lengths))

    def card(self, run: Path) -> str:
        """See ``Job``."""
        recipe = self.recipe
        pieces = f"{self.tokenizers.src.vocab_size:,} source and {self.tokenizers.tgt.vocab_size:,} target pieces"
        return self.card_text(
            run,
            what=f"A translation model from `{recipe.src}` to `{recipe.tgt}`",
            sizes=sizes_of(recipe.model),
            vocabulary=f"{recipe.tokenizer.kind}, {pieces}",
            commands=['translate {} "..."', "evaluate {} --data DIR --split test", 'trace {} "..."'],
        )

    def dataset(self, epoch: int) -> BatchDataset:
        """See ``GradientJob``."""
        dropout = (self.tokenizers.src, self.tokenizers.tgt) if self.recipe.tokenizer.dropout else None
        return BatchDataset(self.train, self._plan(epoch), dropout, self.recipe.data.max_len)

    def _plan(self, epoch: int) -> BatchPlan:
        settings = self.recipe.train
        return plan_batches(*self.train.lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch)


def prepare_translation(
    tree: Tree, source: str, folder: Path, *, run: Path | None = None, progress: Progress = lambda done, total: None
) -> TranslationJob:
    """Reads the corpus in ``folder``, trains tokenizers, encodes, and builds model and optimizer.

    Args:
        tree: the recipe.
        source: what to call it in errors.
        folder: holds the text files.
        run: has the tokenizers, if this run goes on; None trains them.
        progress: called with (lines encoded, lines in all).

    Raises:
        UsageError: the recipe is wrong.
        DataError: the text cannot be used.
    """
    recipe = parse_recipe(tree, source)
    device = pick_device(recipe.train.device)
    train, valid = (
        read_parallel(folder, stem=stem, src=recipe.src, tgt=recipe.tgt)
        for stem in (recipe.data.train, recipe.data.valid)
    )
    scan = train.scan()  # once: a large corpus takes minutes to read
    tokenizers = Tokenizers.load(run) if run else train_tokenizers(train, scan.lines, recipe.tokenizer)
    encode = partial(prepare, src=tokenizers.src, tgt=tokenizers.tgt, cache_dir=cache_folder() / "data")
    pairs = encode(train, config=recipe.data, scan=scan, keep_text=recipe.tokenizer.dropout > 0, progress=progress)
    judged = encode(valid, config=replace(recipe.data, drop_duplicates=False))
    longest = int(np.maximum(*pairs.lengths).argmax())
    plan_batches(
        *(lengths[longest : longest + 1] for lengths in pairs.lengths),
        batch_tokens=recipe.train.batch_tokens,
        seed=0,
        epoch=0,
    )  # a sentence above the budget is an error now, not in the middle of an epoch
    torch.manual_seed(recipe.train.seed)
    state = fresh_state(build_model(recipe, tokenizers).to(device), recipe)
    return TranslationJob(recipe, state, device, tokenizers, pairs, judged)
