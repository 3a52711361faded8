"""The training of a language model: documents, tokenizer, encoded stream, model, windows, loss, model card."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from clearhead.checkpoint import LoadReport
from clearhead.config import Tree
from clearhead.data.batching import BatchPlan
from clearhead.data.documents import TextReport
from clearhead.data.stream import StreamBatch, TokenStream, Windows, training_windows
from clearhead.runs.tokenizers import load_tokenizer, save_tokenizer
from clearhead.tasks.language_model.recipe import (
    LanguageModelRecipe,
    Net,
    batch_loss,
    build_net,
    parse_language_model,
    read_streams,
    sizes_of,
    total_loss,
)
from clearhead.tasks.warm_start import open_start, start_of
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import pick_device
from clearhead.training.job import GradientJob, Progress, documents_of, fresh_state, vocabulary_of
from clearhead.training.loop import Work


@dataclass(frozen=True)
class LanguageModelJob(GradientJob):
    """See ``GradientJob``."""

    recipe: LanguageModelRecipe
    tokenizer: Tokenizer
    train: TokenStream
    valid: TokenStream
    taken: LoadReport | None = None
    """What was taken over from the run that this one starts from."""

    @property
    def model(self) -> Net:
        """The model in training."""
        assert isinstance(self.state.model, Net)
        return self.state.model

    def work(self) -> Work[StreamBatch]:
        """See ``GradientJob``; evaluation scores the whole valid split in windows that do not overlap."""
        recipe, model = self.recipe, self.model
        settings = recipe.train

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, Net)
            loss = total_loss(
                model,
                self.valid,
                stride=model.config.max_seq_len,
                batch_tokens=settings.batch_tokens,
                isolated=recipe.data.packing == "isolated",
                device=self.device,
            )
            return {"loss": loss / len(self.valid)}

        return Work(self.batches, lambda batch: batch_loss(model, batch, recipe.loss), evaluate, where=documents_of)

    def reports(self) -> dict[str, TextReport]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``."""
        return vocabulary_of(self.tokenizer, self.taken)

    def save_text_parts(self, run: Path) -> None:
        """See ``Job``."""
        save_tokenizer(self.tokenizer, run)

    def build(self) -> Net:
        """See ``GradientJob``."""
        return build_net(self.recipe, self.tokenizer)

    @property
    def width(self) -> int:
        """See ``GradientJob``."""
        return self.recipe.model.max_seq_len

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``; all batches but the last have as many windows."""
        return self.dataset(0).plan, 0

    def card(self, run: Path) -> str:
        """See ``Job``."""
        return self.card_text(
            run,
            what="A language model",
            sizes=sizes_of(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.tokenizer.vocab_size:,} pieces",
            commands=['generate {} "..."', "evaluate {} --data DIR --split valid"],
        )

    def dataset(self, epoch: int) -> Windows:
        """See ``GradientJob``."""
        settings = self.recipe.train
        return training_windows(
            self.train,
            context=self.recipe.model.max_seq_len,
            batch_tokens=settings.batch_tokens,
            seed=settings.seed,
            epoch=epoch,
            isolated=self.recipe.data.packing == "isolated",
        )


def prepare_language_model(
    tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = lambda done, total: None
) -> LanguageModelJob:
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
    recipe = start.begun(tree, source, parse_language_model) if start else parse_language_model(tree, source)
    device = pick_device(recipe.train.device)
    known = start.tokenizer if start else load_tokenizer(run) if run else None
    read = read_streams(data, recipe.data, tokenizer=recipe.tokenizer, known=known, progress=progress)
    torch.manual_seed(recipe.train.seed)
    model = build_net(recipe, read[0])
    taken = start.load_into(model) if start else None
    return LanguageModelJob(recipe, fresh_state(model.to(device), recipe), device, *read, taken)
