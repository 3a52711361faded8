"""Language models as families: those that learn by gradients (GPTs, recurrent ones), and n-gram counts."""

from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from clearhead.config import Tree
from clearhead.data.stream import StreamBatch, TokenStream
from clearhead.errors import ModelError
from clearhead.progress import Progress, silent
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.family import ComparedScores, EvaluationOptions, Family, HuggingFaceFiles, LearnedFamily
from clearhead.tasks.imported import Imported
from clearhead.tasks.language_model.comparing import POSITION_WINDOW, compare_language_model
from clearhead.tasks.language_model.exchange import check_language_model, read_gpt, write_gpt
from clearhead.tasks.language_model.job import LanguageModelJob
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NGRAM_WORDS, NgramLanguageModel, NgramRecipe, ngram_sizes, parse_ngram
from clearhead.tasks.language_model.ngram_job import NgramJob, prepare_ngram
from clearhead.tasks.language_model.recipe import (
    WORDS,
    LanguageModelRecipe,
    Net,
    build_language_model,
    language_model_loss,
    language_model_sizes,
    parse_language_model,
    read_streams,
)
from clearhead.tasks.language_model.scoring import (
    LanguageEvaluation,
    evaluate_language_model,
    language_evidence,
)
from clearhead.tasks.sample import Sample
from clearhead.training.device import Device

GOAL = "language modelling"
NOTE = f"loss by position: nats a piece of the run's own, in windows of {POSITION_WINDOW} read from nothing"


class LanguageModelFamily(LearnedFamily[LanguageModelRecipe, LanguageModel, Net, StreamBatch]):
    """See ``Family``."""

    words = WORDS
    warm = True
    noun = "language model"
    tag = "text-generation"
    further = "train gpt-finetune --from {} --data FILE"
    compare_note = NOTE
    batch = StreamBatch
    job = LanguageModelJob

    def parse(self, tree: Tree, source: str) -> LanguageModelRecipe:
        """See ``Family``."""
        return parse_language_model(tree, source)

    def goal(self, recipe: LanguageModelRecipe) -> str:
        """See ``Family``."""
        return GOAL

    def sizes(self, recipe: LanguageModelRecipe) -> str:
        """See ``Family``."""
        return language_model_sizes(recipe.model)

    def read(
        self, data: Path, recipe: LanguageModelRecipe, known: TextParts | None, progress: Progress
    ) -> tuple[TextParts, TokenStream, TokenStream]:
        """See ``LearnedFamily``."""
        return read_streams(data, recipe.data, tokenizer=recipe.tokenizer, known=known, progress=progress)

    def build(self, recipe: LanguageModelRecipe, sizes: ModelSizes) -> Net:
        """See ``LearnedFamily``."""
        return build_language_model(recipe, sizes)

    def load(self, run: SavedRun, *, device: Device = "auto") -> LanguageModel:
        """See ``Family``."""
        return LanguageModel.from_run(run, device=device)

    def loss(
        self, model: Net, batch: StreamBatch, recipe: LanguageModelRecipe, sizes: ModelSizes
    ) -> tuple[Tensor, int]:
        """See ``LearnedFamily``."""
        return language_model_loss(model, batch, recipe.loss)

    def width(self, recipe: LanguageModelRecipe) -> int:
        """See ``LearnedFamily``."""
        return recipe.model.max_seq_len

    def blank(self, recipe: LanguageModelRecipe, rows: int, width: int) -> StreamBatch:
        """See ``LearnedFamily``."""
        ids = torch.zeros(rows, width, dtype=torch.long)
        apart = ids if recipe.data.packing == "isolated" else None
        return StreamBatch(ids, ids, ids.numel(), document_ids=apart, positions=apart)

    def batch_of(self, trained: LanguageModel, sample: Sample) -> StreamBatch:
        """See ``LearnedFamily``."""
        rows = sample.rows(trained.tokenizer, trained.recipe.model.max_seq_len)
        ids = torch.tensor([[trained.tokenizer.begin, *row] for row in rows])
        return StreamBatch(ids[:, :-1], ids[:, 1:], ids[:, 1:].numel())

    def inputs(self, batch: StreamBatch) -> dict[str, Tensor]:
        """See ``LearnedFamily``."""
        return {"ids": batch.ids}

    def evaluate(
        self, trained: LanguageModel, data: Path, split: str, options: EvaluationOptions
    ) -> LanguageEvaluation:
        """See ``Family``."""
        return evaluate_language_model(trained, data, split, stride=options.stride)

    def compared(self, trained: LanguageModel, data: Path, split: str, options: EvaluationOptions) -> ComparedScores:
        """See ``Family``."""
        return compare_language_model(trained, data, split)

    def check_hugging_face(self, recipe: LanguageModelRecipe) -> None:
        """See ``Family``."""
        check_language_model(recipe)

    def to_hugging_face(self, trained: LanguageModel) -> HuggingFaceFiles:
        """See ``Family``."""
        return write_gpt(trained)

    def evidence(self, trained: LanguageModel, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
        """See ``LearnedFamily``."""
        return language_evidence(trained, data, count, split=split)

    def read_folder(self, folder: Path, config: Tree, *, src: str = "", tgt: str = "") -> Imported:
        """See ``LearnedFamily``."""
        return read_gpt(folder, config)


class NgramFamily(Family[NgramRecipe, NgramLanguageModel]):
    """See ``Family``."""

    words = NGRAM_WORDS
    noun = "language model"
    tag = "text-generation"
    compare_note = NOTE

    def parse(self, tree: Tree, source: str) -> NgramRecipe:
        """See ``Family``."""
        return parse_ngram(tree, source)

    def prepare(
        self, tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent
    ) -> NgramJob:
        """See ``Family``."""
        return prepare_ngram(tree, source, data, run=run, progress=progress)

    def load(self, run: SavedRun, *, device: Device = "auto") -> NgramLanguageModel:
        """See ``Family``; counts are on no device."""
        return NgramLanguageModel.from_run(run)

    def goal(self, recipe: NgramRecipe) -> str:
        """See ``Family``."""
        return GOAL

    def sizes(self, recipe: NgramRecipe) -> str:
        """See ``Family``."""
        return ngram_sizes(recipe.model)

    def parameters(self, trained: NgramLanguageModel) -> int:
        """See ``Family``: the n-grams stored."""
        return trained.model.size

    def evaluate(
        self, trained: NgramLanguageModel, data: Path, split: str, options: EvaluationOptions
    ) -> LanguageEvaluation:
        """See ``Family``."""
        return evaluate_language_model(trained, data, split, stride=options.stride)

    def compared(
        self, trained: NgramLanguageModel, data: Path, split: str, options: EvaluationOptions
    ) -> ComparedScores:
        """See ``Family``."""
        return compare_language_model(trained, data, split)

    def check_hugging_face(self, recipe: NgramRecipe) -> NoReturn:
        """See ``Family``."""
        raise ModelError(f"task = {recipe.task!r}: Hugging Face has no class for it")

    def to_hugging_face(self, trained: NgramLanguageModel) -> HuggingFaceFiles:
        """See ``Family``."""
        return self.check_hugging_face(trained.recipe)


LANGUAGE_MODEL = LanguageModelFamily()
NGRAM = NgramFamily()
