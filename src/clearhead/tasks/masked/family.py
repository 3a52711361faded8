"""Masked language models as a family: BERTs in pretraining."""

from pathlib import Path

import torch
from torch import Tensor

from clearhead.config import Tree
from clearhead.data.masked import MaskedBatch, MaskedText
from clearhead.data.segments import collate_segments
from clearhead.models.bert import BertPretraining
from clearhead.progress import Progress
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.family import ComparedScores, EvaluationOptions, HuggingFaceFiles, LearnedFamily
from clearhead.tasks.imported import Imported
from clearhead.tasks.masked.exchange import check_masked, read_bert, write_bert
from clearhead.tasks.masked.job import MaskedJob
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.recipe import (
    WORDS,
    MaskedRecipe,
    build_masked,
    masked_loss,
    masked_sizes,
    parse_masked,
    read_texts,
)
from clearhead.tasks.masked.scoring import (
    HIDE_EVERY,
    MaskedEvaluation,
    compare_masked,
    evaluate_masked,
    masked_evidence,
)
from clearhead.tasks.sample import Sample
from clearhead.training.device import Device


class MaskedFamily(LearnedFamily[MaskedRecipe, MaskedModel, BertPretraining, MaskedBatch]):
    """See ``Family``."""

    words = WORDS
    warm = True
    embeds = True
    noun = "masked language model"
    tag = "fill-mask"
    example = '"... [MASK] ..."'
    further = "train bert-further --from {} --data FILE"
    compare_note = "loss and accuracy of masked pieces: a piece is one of the run's own vocabulary"
    batch = MaskedBatch
    job = MaskedJob

    def parse(self, tree: Tree, source: str) -> MaskedRecipe:
        """See ``Family``."""
        return parse_masked(tree, source)

    def goal(self, recipe: MaskedRecipe) -> str:
        """See ``Family``."""
        return "masked language modelling"

    def sizes(self, recipe: MaskedRecipe) -> str:
        """See ``Family``."""
        return masked_sizes(recipe.model)

    def read(
        self, data: Path, recipe: MaskedRecipe, known: TextParts | None, progress: Progress
    ) -> tuple[TextParts, MaskedText, MaskedText]:
        """See ``LearnedFamily``."""
        return read_texts(data, recipe, known, progress)

    def build(self, recipe: MaskedRecipe, sizes: ModelSizes) -> BertPretraining:
        """See ``LearnedFamily``."""
        return build_masked(recipe, sizes)

    def load(self, run: SavedRun, *, device: Device = "auto") -> MaskedModel:
        """See ``Family``."""
        return MaskedModel.from_run(run, device=device)

    def loss(
        self, model: BertPretraining, batch: MaskedBatch, recipe: MaskedRecipe, sizes: ModelSizes
    ) -> tuple[Tensor, int]:
        """See ``LearnedFamily``."""
        return masked_loss(model, batch, recipe.loss)

    def width(self, recipe: MaskedRecipe) -> int:
        """See ``LearnedFamily``."""
        return recipe.row_length

    def blank(self, recipe: MaskedRecipe, rows: int, width: int) -> MaskedBatch:
        """See ``LearnedFamily``; the share of masked pieces is that of training."""
        ids = torch.zeros(rows, width, dtype=torch.long)
        hidden = int(recipe.masked.mask_fraction * rows * width)
        positions = torch.zeros(hidden, dtype=torch.long)
        labels = torch.zeros(rows, dtype=torch.long) if recipe.masked.next_sentence else None
        return MaskedBatch(ids, ids, torch.ones_like(ids).bool(), positions, positions, labels, hidden)

    def batch_of(self, trained: MaskedModel, sample: Sample) -> MaskedBatch:
        """See ``LearnedFamily``; every seventh piece is masked, which is about the share of training."""
        special = trained.tokenizer.ids
        laid = collate_segments(
            sample.rows(trained.tokenizer, trained.recipe.model.max_seq_len - 2), None, special=special
        )
        ids = torch.from_numpy(laid.ids)
        places = torch.from_numpy(laid.text).flatten().nonzero()[:, 0]
        positions = places[min(HIDE_EVERY // 2, len(places) - 1) :: HIDE_EVERY]
        targets = ids.flatten()[positions]
        return MaskedBatch(
            ids=ids.flatten().index_fill(0, positions, special.mask).view_as(ids),
            segments=torch.from_numpy(laid.segments),
            mask=torch.from_numpy(laid.mask),
            positions=positions,
            targets=targets,
            next_labels=None if trained.model.nsp_head is None else torch.ones(len(ids), dtype=torch.long),
            target_count=len(targets),
        )

    def inputs(self, batch: MaskedBatch) -> dict[str, Tensor]:
        """See ``LearnedFamily``."""
        ids = batch.ids
        at = torch.zeros(ids.numel(), dtype=torch.bool, device=ids.device).index_fill(0, batch.positions, True)
        return {"ids": ids, "mask": batch.mask, "segments": batch.segments, "at": at.view_as(ids)}

    def evaluate(self, trained: MaskedModel, data: Path, split: str, options: EvaluationOptions) -> MaskedEvaluation:
        """See ``Family``."""
        return evaluate_masked(trained, data, split)

    def compared(self, trained: MaskedModel, data: Path, split: str, options: EvaluationOptions) -> ComparedScores:
        """See ``Family``."""
        return compare_masked(trained, data, split)

    def check_hugging_face(self, recipe: MaskedRecipe) -> None:
        """See ``Family``."""
        check_masked(recipe)

    def to_hugging_face(self, trained: MaskedModel) -> HuggingFaceFiles:
        """See ``Family``."""
        return write_bert(trained)

    def evidence(self, trained: MaskedModel, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
        """See ``LearnedFamily``."""
        return masked_evidence(trained, data, count, split=split)

    def read_folder(self, folder: Path, config: Tree, *, src: str = "", tgt: str = "") -> Imported:
        """See ``LearnedFamily``."""
        return read_bert(folder, config)


MASKED = MaskedFamily()
