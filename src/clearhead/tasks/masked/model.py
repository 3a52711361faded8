"""A trained masked language model: loads a run, predicts masked pieces, and embeds texts."""

import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from clearhead.arguments import checked
from clearhead.data.batching import sequential_batches
from clearhead.data.segments import check_marks, collate_segments
from clearhead.engine.choose import EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.models.bert import BertPretraining
from clearhead.models.embedding import EmbeddingConfig
from clearhead.models.pooling import pooled
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_text_parts
from clearhead.tasks.family import open_for
from clearhead.tasks.loaded import Loaded, native_of, prepared
from clearhead.tasks.masked.native import Ranked, Rows
from clearhead.tasks.masked.recipe import WORDS, MaskedRecipe, build_masked, parse_masked
from clearhead.tasks.masked.texts import TextFiller, Vectors
from clearhead.tasks.packed import Packing, about_run
from clearhead.tasks.room import build_to_load
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import Device, pick_device

BATCH_TOKENS = 4096  # pieces and marks, padding included, that are read at once


@dataclass(frozen=True)
class MaskedModel(Loaded, TextFiller):
    """A BERT with its tokenizer; see ``load``."""

    recipe: MaskedRecipe
    tokenizer: Tokenizer
    model: BertPretraining
    device: torch.device
    step: int = 0
    """Training step of the weights."""
    weights: Weights | None = None
    """How a CPU holds them for the native engine, in a packed copy that the first text makes; None: ``model`` reads."""
    packing: Any = None
    """Where the native engine's weights are kept, a ``Packing``; None: in memory alone."""

    @classmethod
    @checked
    def load(
        cls,
        run: str | Path,
        *,
        checkpoint: str = "best",
        device: Device = "auto",
        weights: Weights = "float32",
        engine: EngineName = "auto",
    ) -> "MaskedModel":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: as a CPU is to hold them for reading texts; see ``choose``.
            engine: what is to read texts; see ``choose``.

        Raises:
            ModelError: it is not the run of a masked language model, or has no checkpoint yet, or a damaged one.
            UsageError: ``weights`` or ``engine`` is what the model or this machine cannot have.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device, weights=weights, engine=engine)

    @classmethod
    def from_run(
        cls, run: SavedRun, *, device: Device = "auto", weights: Weights = "float32", engine: EngineName = "auto"
    ) -> "MaskedModel":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_masked(run.tree, run.source), load_text_parts(run.trained_path)
        target = pick_device(device)
        check_marks(parts.tokenizer.ids)
        model = build_to_load(build_masked, recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        native = weights if choose(model, weights, engine).engine == "native" else None
        facts = {"longest": recipe.model.max_seq_len, "embedding": asdict(recipe.embedding)}
        packing = Packing.of(run, model, native, about_run("masked", recipe, step, **facts), parts.contents())
        return cls(recipe, parts.tokenizer, model, target, step, native, packing)

    @functools.cached_property
    def reader(self) -> BertPretraining | NativeModel:
        """The model that reads texts: ``model``, or what it is packed to."""
        return prepared(self.model, self.weights, "native", self.packing)

    @property
    def longest(self) -> int:
        """See ``TextFiller``."""
        return self.recipe.model.max_seq_len

    @property
    def d_model(self) -> int:
        """See ``TextFiller``."""
        return self.recipe.model.d_model

    @property
    def embedding(self) -> EmbeddingConfig:
        """See ``TextFiller``."""
        return self.recipe.embedding

    @property
    def _native(self) -> NativeModel | None:
        """See ``NativeUser``."""
        return native_of(self.reader)

    def _at_masks(
        self, rows: Rows, count: int, never: NDArray[np.int64]
    ) -> Iterator[tuple[list[int], Ranked, list[int]]]:
        """See ``TextFiller``."""
        if self._native:
            yield from super()._at_masks(rows, count, never)
            return
        unlikely = torch.from_numpy(never).to(self.device)
        for numbers, ids, real in self._batches(rows):
            with torch.inference_mode():
                hidden = ids == self.tokenizer.ids.mask
                logits = self.model.mlm_head(self.model.bert(ids, mask=real)[hidden]).float()  # masks vocab
                shares, pieces = logits.softmax(dim=1).index_fill(1, unlikely, -1.0).topk(count)
                counts = hidden.sum(dim=1).tolist()
            best = zip(pieces.tolist(), shares.tolist(), strict=True)
            yield numbers, [list(zip(*mask, strict=True)) for mask in best], counts

    def _vectors(self, rows: Rows) -> Iterator[tuple[list[int], Vectors]]:
        """See ``TextFiller``."""
        if self._native:
            yield from super()._vectors(rows)
            return
        for numbers, ids, real in self._batches(rows):
            with torch.inference_mode():
                states = self.model.bert(ids, mask=real).float()  # batch seq d_model
                vectors = pooled(states, real, self.embedding).cpu().numpy()
            yield numbers, vectors

    def _batches(self, rows: Rows) -> Iterator[tuple[list[int], Tensor, Bool[Tensor, "batch seq"]]]:
        """Yields the numbers of rows of like length, their ids, marks included, and which are real; None is no row."""
        given = [(number, row) for number, row in enumerate(rows) if row is not None]
        plan = sequential_batches(np.array([len(row) + 1 for _, row in given], np.int64), batch_tokens=BATCH_TOKENS)
        for batch in (plan[index].tolist() for index in range(len(plan))):
            laid = collate_segments([given[at][1] for at in batch], None, special=self.tokenizer.ids)
            numbers = [given[at][0] for at in batch]
            yield numbers, torch.from_numpy(laid.ids).to(self.device), torch.from_numpy(laid.mask).to(self.device)
