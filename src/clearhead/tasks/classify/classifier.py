"""A trained classifier: loads a run, classifies texts or pairs, and scores itself on labelled lines."""

import functools
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.data.documents import Split
from clearhead.data.labels.labelled import read_labelled
from clearhead.data.labels.labelled_batches import LabelledReport, LabelledRows, unlabelled
from clearhead.data.labels.labels import Labels
from clearhead.data.segments import EncodedTexts
from clearhead.engine.choose import EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.errors import DataError, UsageError
from clearhead.evaluate.classification import ClassificationScores, confusion_text, draw_confusion
from clearhead.models.bert import BertClassifier
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_labelled_parts
from clearhead.tasks.classify.native import Predicted
from clearhead.tasks.classify.objective import Scores, monitored, predict, score
from clearhead.tasks.classify.recipe import WORDS, ClassifyRecipe, build_classifier, encode, parse_classify
from clearhead.tasks.classify.texts import Reading, TextClassifier
from clearhead.tasks.family import Evaluation, open_for
from clearhead.tasks.loaded import Loaded, native_of, prepared
from clearhead.tasks.packed import Packing, about_run
from clearhead.tasks.room import build_to_load
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import Device, pick_device


@dataclass(frozen=True)
class ClassifierEvaluation(Brief, Evaluation):
    """All scores of one split."""

    split: str
    report: LabelledReport
    """How many lines were read, kept and cut."""
    scores: Scores
    loss: float
    """The training loss, without label smoothing and class weights."""
    lines_per_second: float

    def lines(self, step: int) -> list[str]:
        """See ``Evaluation``."""
        scores, truncated = self.scores, self.report.truncated
        head = f"{self.split}: {scores.lines:,} lines, step {step:,}, {truncated:,} of them truncated"
        if isinstance(scores, ClassificationScores):
            shown = [*scores.text(), "", *confusion_text(scores), ""]
        else:
            shown = [f"Pearson {scores.pearson:.4f}, Spearman {scores.spearman:.4f}, squared error {scores.mse:.4f}"]
        return [head, *shown, f"speed {self.lines_per_second:.0f} lines per second"]

    def as_dict(self) -> dict[str, Any]:
        """See ``Evaluation``."""
        tree = {"split": self.split, "loss": self.loss, **asdict(self.scores)}
        return {**tree, "lines_per_second": self.lines_per_second, "truncated": self.report.truncated}

    def write(self, path: Path) -> None:
        """See ``Evaluation``: the confusion matrix, as a picture."""
        if not isinstance(self.scores, ClassificationScores):
            raise UsageError("--output: numbers have no confusion matrix to draw")
        try:
            drawn = draw_confusion(self.scores, path)
        except (OSError, ValueError) as error:
            raise DataError(f"{str(path)!r} cannot be written: {error}") from error
        if not drawn:
            raise UsageError("--output: needs the extra, pip install 'clearhead[plots]'")


@dataclass(frozen=True)
class Classifier(Loaded, TextClassifier):
    """A fine-tuned encoder with its tokenizer and labels, ready to use; see ``load``."""

    recipe: ClassifyRecipe
    tokenizer: Tokenizer
    labels: Labels
    model: BertClassifier
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
    ) -> "Classifier":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: as a CPU is to hold them for reading texts; see ``choose``.
            engine: what is to read texts; see ``choose``.

        Raises:
            ModelError: it is not the run of a classifier, or has no checkpoint yet, or the checkpoint is damaged.
            UsageError: ``weights`` or ``engine`` is what the model or this machine cannot have.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device, weights=weights, engine=engine)

    @classmethod
    def from_run(
        cls, run: SavedRun, *, device: Device = "auto", weights: Weights = "float32", engine: EngineName = "auto"
    ) -> "Classifier":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_classify(run.tree, run.source), load_labelled_parts(run.trained_path)
        assert parts.labels is not None
        target, model = pick_device(device), build_to_load(build_classifier, recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        native = weights if choose(model, weights, engine).engine == "native" else None
        about = about_run("classify", recipe, step, reading=asdict(reading_of(recipe)))
        packing = Packing.of(run, model, native, about, parts.contents())
        return cls(recipe, parts.tokenizer, parts.labels, model, step, native, packing)

    @functools.cached_property
    def reader(self) -> BertClassifier | NativeModel:
        """The model that reads texts: ``model``, or what it is packed to."""
        return prepared(self.model, self.weights, "native", self.packing)

    @property
    def _reading(self) -> Reading:
        """See ``TextClassifier``."""
        return reading_of(self.recipe)

    @property
    def _engine_model(self) -> NativeModel | None:
        """See ``NativeUser``."""
        return native_of(self.reader)

    @checked
    def evaluate(self, data: str | Path, split: str) -> ClassifierEvaluation:
        """Scores all lines of a split.

        Args:
            data: a file, or a folder of them.
            split: train, valid or test, as the recipe names them.

        Raises:
            DataError: the lines cannot be used, or have labels that the run does not know.
            UsageError: there is no such split.
        """
        source = labelled_rows(self, Path(data), split)
        predicted, seconds = timed_predictions(self, source)
        scores = score(predicted, source, self.labels)
        loss = monitored(scores, self.labels)["loss"]
        return ClassifierEvaluation(split, source.report, scores, loss, len(source.labels) / seconds)

    def _predict(self, rows: EncodedTexts) -> Predicted:
        """See ``TextClassifier``."""
        if self._engine_model:
            return super()._predict(rows)
        source = unlabelled(rows, self.tokenizer.ids)
        return predict(self.model, source, self.labels, batch_tokens=self.recipe.train.batch_tokens)


def labelled_rows(trained: Classifier, data: Path, split: str) -> LabelledRows:
    """Returns all lines of a split, encoded; see ``Classifier.evaluate``."""
    if split not in get_args(Split):
        raise UsageError(f"--split {split!r}: must be one of {', '.join(get_args(Split))} for a classifier")
    text = read_labelled(data, split=cast(Split, split), config=trained.recipe.data, train=trained.labels)
    return encode(text, trained.recipe, trained.tokenizer)


def timed_predictions(trained: Classifier, source: LabelledRows) -> tuple[Predicted, float]:
    """Returns the probability of each class, or the number, for each line, and the seconds that they took."""
    started = time.perf_counter()
    return trained._predict(source.rows), time.perf_counter() - started


def reading_of(recipe: ClassifyRecipe) -> Reading:
    """Returns how a recipe's runs read texts."""
    return Reading(recipe.model.max_seq_len, recipe.data.overlong, recipe.finetune.pooling)
