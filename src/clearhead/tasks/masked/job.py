"""The pretraining of a BERT: documents, tokenizer, sentences, model, masked batches, loss, model card."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from clearhead.checkpoint import LoadReport
from clearhead.config import Tree
from clearhead.data.batching import BatchPlan, largest_batch
from clearhead.data.masked import MaskedBatch, MaskedBatches, MaskedText
from clearhead.models.bert import BertPretraining
from clearhead.runs.tokenizers import load_tokenizer, save_tokenizer
from clearhead.tasks.masked.recipe import MaskedRecipe, batch_loss, build_masked, parse_masked, read_texts, sizes_of
from clearhead.tasks.masked.scoring import score_batches
from clearhead.tasks.warm_start import open_start, start_of
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import pick_device
from clearhead.training.job import GradientJob, Progress, documents_of, fresh_state, vocabulary_of
from clearhead.training.loop import Work


@dataclass(frozen=True)
class MaskedJob(GradientJob):
    """See ``GradientJob``."""

    recipe: MaskedRecipe
    tokenizer: Tokenizer
    train: MaskedText
    valid: MaskedText
    taken: LoadReport | None = None
    """What was taken over from the model that this one starts from."""

    @property
    def model(self) -> BertPretraining:
        """The model in training."""
        assert isinstance(self.state.model, BertPretraining)
        return self.state.model

    def work(self) -> Work[MaskedBatch]:
        """See ``GradientJob``; evaluation hides the same pieces of the whole valid split every time."""
        recipe, model, settings = self.recipe, self.model, self.recipe.train
        judged = self.valid.evaluation(batch_tokens=settings.batch_tokens)

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, BertPretraining)
            return score_batches(model, judged, self.device).as_dict()

        return Work(self.batches, lambda batch: batch_loss(model, batch, recipe.loss), evaluate, where=documents_of)

    def reports(self) -> dict[str, MaskedText]:
        """See ``Job``."""
        return {"train": self.train, "valid": self.valid}

    def vocabulary(self) -> str:
        """See ``Job``."""
        return vocabulary_of(self.tokenizer, self.taken)

    def save_text_parts(self, run: Path) -> None:
        """See ``Job``."""
        save_tokenizer(self.tokenizer, run)

    def build(self) -> BertPretraining:
        """See ``GradientJob``."""
        return build_masked(self.recipe, self.tokenizer)

    @property
    def width(self) -> int:
        """See ``GradientJob``."""
        return self.recipe.row_length

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        rows = self.dataset(0)
        return rows.plan, largest_batch(rows.plan, rows.pairs.lengths)

    def card(self, run: Path) -> str:
        """See ``Job``."""
        return self.card_text(
            run,
            what="A masked language model",
            sizes=sizes_of(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.tokenizer.vocab_size:,} pieces",
            commands=['fill {} "... [MASK] ..."', 'embed {} "..."', "evaluate {} --data DIR --split valid"],
        )

    def dataset(self, epoch: int) -> MaskedBatches:
        """See ``GradientJob``."""
        settings = self.recipe.train
        return self.train.training(batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch)


def prepare_masked(
    tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = lambda done, total: None
) -> MaskedJob:
    """Reads the documents, trains a tokenizer, encodes, and builds model and optimizer.

    Args:
        tree: the recipe.
        source: what to call it in errors.
        data: a text file or a folder of them.
        run: has the tokenizer, if this run goes on; None trains it, or takes that of ``recipe.start``.
        progress: called with (characters encoded, characters in all).

    Raises:
        UsageError: the recipe is wrong.
        DataError: the text cannot be used.
    """
    start = open_start(Path(start_of(tree)), task=tree["task"]) if start_of(tree) and not run else None
    recipe = start.begun(tree, source, parse_masked) if start else parse_masked(tree, source)
    device = pick_device(recipe.train.device)
    known = start.tokenizer if start else load_tokenizer(run) if run else None
    read = read_texts(data, recipe, known=known, progress=progress)
    torch.manual_seed(recipe.train.seed)
    model = build_masked(recipe, read[0])
    taken = start.load_into(model) if start else None
    return MaskedJob(recipe, fresh_state(model.to(device), recipe), device, *read, taken)
