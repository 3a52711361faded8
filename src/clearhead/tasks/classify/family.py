"""Classifiers as a family: BERTs fine-tuned on labelled texts or pairs."""

from pathlib import Path

import torch
from torch import Tensor

from clearhead.checkpoint import LoadReport
from clearhead.config import Tree
from clearhead.data.labels.labelled_batches import LabelledBatch, LabelledRows
from clearhead.data.segments import collate_segments
from clearhead.errors import DataError
from clearhead.models.bert import BertClassifier
from clearhead.optim.build import RateOf
from clearhead.progress import Progress, silent
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes, TextParts, load_labelled_parts
from clearhead.tasks.classify.classifier import Classifier, ClassifierEvaluation
from clearhead.tasks.classify.comparing import compare_classifier
from clearhead.tasks.classify.evidence import classifier_evidence
from clearhead.tasks.classify.exchange import check_classifier, read_classifier, write_classifier
from clearhead.tasks.classify.job import ClassifyJob, read_lines
from clearhead.tasks.classify.objective import Objective
from clearhead.tasks.classify.recipe import (
    WORDS,
    ClassifyRecipe,
    build_classifier,
    classifier_sizes,
    parse_classify,
    rate_of,
)
from clearhead.tasks.classify.warm_start import EncoderStart, open_encoder
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.family import ComparedScores, EvaluationOptions, HuggingFaceFiles, LearnedFamily
from clearhead.tasks.imported import Imported
from clearhead.tasks.sample import Sample
from clearhead.tasks.warm_start import Start
from clearhead.training.device import Device


class ClassifyFamily(LearnedFamily[ClassifyRecipe, Classifier, BertClassifier, LabelledBatch]):
    """See ``Family``."""

    words = WORDS
    warm = True
    foldable = True
    noun = "classifier"
    tag = "text-classification"
    further = "train classify --from {} --data DIR"
    compare_note = "scores of the labels that the file has; loss is that of training, without smoothing and weights"
    batch = LabelledBatch
    job = ClassifyJob

    def prepare(
        self, tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent
    ) -> ClassifyJob:
        """See ``Family``; also raises DataError if the labels of a resumed run have changed."""
        job = super().prepare(tree, source, data, run=run, progress=progress)
        assert isinstance(job, ClassifyJob)
        if run and self.parts(run).labels != job.labels:
            raise DataError(f"data {str(data)!r}: its labels are not those that run {str(run)!r} was trained on")
        return job

    def parse(self, tree: Tree, source: str) -> ClassifyRecipe:
        """See ``Family``."""
        return parse_classify(tree, source)

    def goal(self, recipe: ClassifyRecipe) -> str:
        """See ``Family``."""
        return "classification" if recipe.data.kind == "classes" else "numbers of texts"

    def sizes(self, recipe: ClassifyRecipe) -> str:
        """See ``Family``."""
        return classifier_sizes(recipe.model)

    def parts(self, run: Path) -> TextParts:
        """See ``LearnedFamily``."""
        return load_labelled_parts(run)

    def open_start(self, path: Path, tree: Tree) -> EncoderStart:
        """See ``LearnedFamily``: the encoder of a masked language model too."""
        return open_encoder(path)

    def take_over(
        self, start: Start, model: BertClassifier, recipe: ClassifyRecipe, sizes: ModelSizes
    ) -> LoadReport | None:
        """See ``LearnedFamily``."""
        return None if recipe.finetune.fresh else start.load_into(model, sizes)

    def read(
        self, data: Path, recipe: ClassifyRecipe, known: TextParts | None, progress: Progress
    ) -> tuple[TextParts, LabelledRows, LabelledRows]:
        """See ``LearnedFamily``; a labelled set is encoded at once."""
        return read_lines(data, recipe, known)

    def build(self, recipe: ClassifyRecipe, sizes: ModelSizes) -> BertClassifier:
        """See ``LearnedFamily``."""
        return build_classifier(recipe, sizes)

    def load(self, run: SavedRun, *, device: Device = "auto") -> Classifier:
        """See ``Family``."""
        return Classifier.from_run(run, device=device)

    def loss(
        self, model: BertClassifier, batch: LabelledBatch, recipe: ClassifyRecipe, sizes: ModelSizes
    ) -> tuple[Tensor, int]:
        """See ``LearnedFamily``; without the weights of classes, which follow from the whole text."""
        assert sizes.labels is not None
        return Objective.of(recipe, sizes.labels).loss_of(model, batch)

    def rates(self, recipe: ClassifyRecipe) -> RateOf:
        """See ``LearnedFamily``."""
        return rate_of(recipe)

    def width(self, recipe: ClassifyRecipe) -> int:
        """See ``LearnedFamily``."""
        return recipe.model.max_seq_len

    def blank(self, recipe: ClassifyRecipe, rows: int, width: int) -> LabelledBatch:
        """See ``LearnedFamily``."""
        ids, zeros = torch.zeros(rows, width, dtype=torch.long), torch.zeros(rows, dtype=torch.long)
        return LabelledBatch(ids, ids, torch.ones_like(ids).bool(), zeros, zeros, rows)

    def batch_of(self, trained: Classifier, sample: Sample) -> LabelledBatch:
        """See ``LearnedFamily``; the label of every row is the first class, or the mean number."""
        labels, pair = trained.labels, reads_pair(trained, sample.text)
        room = trained.recipe.model.max_seq_len - 3
        rows, second = sample.rows(trained.tokenizer, room, pair=pair), None
        if pair and sample.text is None:
            second = sample.rows(trained.tokenizer, room, pair=True, draw=1)
        elif pair:
            rows, second = rows[:1], rows[1:2] or rows
        laid = collate_segments(rows, second, special=trained.tokenizer.ids)
        count = len(rows)
        right = torch.zeros(count, dtype=torch.long) if labels.classes else torch.full((count,), labels.mean)
        ids, segments, mask = (torch.from_numpy(part) for part in (laid.ids, laid.segments, laid.mask))
        return LabelledBatch(ids, segments, mask, right, torch.arange(count), count)

    def inputs(self, batch: LabelledBatch) -> dict[str, Tensor]:
        """See ``LearnedFamily``."""
        return {"ids": batch.ids, "mask": batch.mask, "segments": batch.segments}

    def evaluate(self, trained: Classifier, data: Path, split: str, options: EvaluationOptions) -> ClassifierEvaluation:
        """See ``Family``."""
        return trained.evaluate(data, split)

    def compared(self, trained: Classifier, data: Path, split: str, options: EvaluationOptions) -> ComparedScores:
        """See ``Family``."""
        return compare_classifier(trained, data, split)

    def check_hugging_face(self, recipe: ClassifyRecipe) -> None:
        """See ``Family``."""
        check_classifier(recipe)

    def kept_by_onnx_alone(self, recipe: ClassifyRecipe) -> str:
        """See ``Family``: runs of pieces beside the encoder."""
        longest = recipe.finetune.ngrams
        return f"finetune.ngrams = {longest}" if longest else ""

    def to_hugging_face(self, trained: Classifier) -> HuggingFaceFiles:
        """See ``Family``."""
        return write_classifier(trained)

    def evidence(self, trained: Classifier, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
        """See ``LearnedFamily``."""
        return classifier_evidence(trained, data, count, split=split)

    def read_folder(self, folder: Path, config: Tree, *, src: str = "", tgt: str = "") -> Imported:
        """See ``LearnedFamily``."""
        return read_classifier(folder, config)


def reads_pair(trained: Classifier, text: str | None) -> bool:
    """Says whether a text is a pair, divided by a tab; an imported model may take both, and then the tab decides."""
    pairs = trained.labels.pairs
    return "\t" in (text or "") if pairs is None else pairs


CLASSIFY = ClassifyFamily()
