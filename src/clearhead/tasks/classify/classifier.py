"""A trained classifier: loads a run, classifies texts or pairs, and scores itself on labelled lines."""

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args, overload

from jaxtyping import Float
from numpy import ndarray

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.data.documents import Split
from clearhead.data.labels.labelled import LabelledText, Line, read_labelled
from clearhead.data.labels.labelled_batches import LabelledReport, LabelledRows
from clearhead.data.labels.labels import Labels
from clearhead.engine.choose import EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.errors import DataError, OnError, UsageError, attempt_each, refuse
from clearhead.evaluate.classification import ClassificationScores, confusion_text, draw_confusion
from clearhead.models.bert import BertClassifier
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_labelled_parts
from clearhead.tasks.classify.native import predict_natively
from clearhead.tasks.classify.objective import Scores, monitored, predict, score
from clearhead.tasks.classify.recipe import WORDS, ClassifyRecipe, build_classifier, encode, parse_classify
from clearhead.tasks.family import Evaluation, open_for
from clearhead.tasks.loaded import Loaded
from clearhead.tasks.packed import Packing, about_run
from clearhead.tasks.room import build_here
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import Device, pick_device

Given = str | tuple[str, str]
"""A text, or a pair of texts."""


@dataclass(frozen=True)
class Classification(Brief):
    """The prediction for a text or a pair."""

    text: str
    pair: str | None
    label: str | None
    """The class of the highest probability; None where labels are numbers."""
    score: float
    """The probability of ``label``, or the predicted number."""
    probabilities: dict[str, float]
    """The probability of every class; empty where labels are numbers."""
    dropped: int = 0
    """How many pieces were cut off because the text was too long for the model."""


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
class Classifier(Loaded):
    """A fine-tuned encoder with its tokenizer and labels, ready to use; see ``load``."""

    recipe: ClassifyRecipe
    tokenizer: Tokenizer
    labels: Labels
    model: BertClassifier
    step: int = 0
    """Training step of the weights."""
    weights: Weights | None = None
    """How a CPU holds them for the native engine, in a packed copy that the first text makes; None: ``model`` reads."""
    packing: Packing | None = None
    """Where the native engine's weights are kept; None: in memory alone."""

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
        target, model = pick_device(device), build_here(build_classifier, recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        native = weights if choose(model, weights, engine).engine == "native" else None
        about = about_run("classify", recipe, step, longest=recipe.model.max_seq_len)
        packing = Packing.of(run, model, native, about, parts.contents())
        return cls(recipe, parts.tokenizer, parts.labels, model, step, native, packing)

    @functools.cached_property
    def reader(self) -> BertClassifier | NativeModel:
        """The model that reads texts: ``model``, or what it is packed to."""
        if self.weights is None:
            return self.model
        choice = choose(self.model, self.weights, "native")
        return (choice.prepare(self.packing.image) if self.packing else choice.prepare()) or self.model

    @overload
    def classify(self, given: Given, *, on_error: OnError = refuse) -> Classification: ...  # type: ignore[overload-overlap]

    @overload
    def classify(self, given: Iterable[Given], *, on_error: OnError = refuse) -> list[Classification]: ...

    @checked
    def classify(
        self, given: Given | Iterable[Given], *, on_error: OnError = refuse
    ) -> Classification | list[Classification]:
        """Classifies a text or a pair, or each of several, in order; a result does not depend on the other texts.

        Args:
            given: a text, or several; or pairs of texts, as the run was trained on. A tuple of two strings is a pair.
            on_error: called for a text that is empty, is a pair where the run takes single texts (or the reverse), is
                too long under the policy ``error`` of the recipe or has a lone surrogate; it then has neither label nor
                score. Without it such a text is an error.

        Returns:
            For a text or a pair its class, for anything else a list with that of each.

        Raises:
            UsageError: ``given`` is something else.
            DataError: a text cannot be classified, and there is no ``on_error``.
        """
        if isinstance(given, str | tuple):
            return self.classify([cast(Given, given)], on_error=on_error)[0]
        given = list(given)
        if not given:
            return []
        pairs = not isinstance(given[0], str) if self.labels.pairs is None else self.labels.pairs
        judged = [_unjudged(text) for text in given]
        lines = attempt_each(lambda text: _line(text, pairs=pairs), given, on_error)
        numbered = [(number, line) for number, line in enumerate(lines) if line is not None]
        try:
            source = self._encode(numbered)
        except DataError:  # of one or several, which the others need not wait for
            alone = attempt_each(
                lambda pair: (pair[0], self._encode([pair])),
                numbered,
                lambda at, error: on_error(numbered[at][0], error),
            )
            good = {pair[0] for pair in alone if pair}
            numbered = [pair for pair in numbered if pair[0] in good]
            source = self._encode(numbered)
        if source is None:
            return judged
        predicted = self._predict(source)
        rows = zip(numbered, predicted.tolist(), source.rows.cut.tolist(), strict=True)
        for (number, line), values, dropped in rows:
            judged[number] = self._judged(line, values, dropped)
        return judged

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
        if split not in get_args(Split):
            raise UsageError(f"--split {split!r}: must be one of {', '.join(get_args(Split))} for a classifier")
        text = read_labelled(Path(data), split=cast(Split, split), config=self.recipe.data, train=self.labels)
        source = encode(text, self.recipe, self.tokenizer)
        started = time.perf_counter()
        predicted = self._predict(source)
        seconds = time.perf_counter() - started
        scores = score(predicted, source, self.labels)
        loss = monitored(scores, self.labels)["loss"]
        return ClassifierEvaluation(split, source.report, scores, loss, len(text) / seconds)

    def _encode(self, numbered: Sequence[tuple[int, Line]]) -> LabelledRows | None:
        """Encodes lines; None if there are none. Raises DataError if the model cannot read one of them."""
        lines = [line for _, line in numbered]
        return encode(LabelledText(lines, (), "", 0), self.recipe, self.tokenizer) if lines else None

    def _predict(self, source: LabelledRows) -> Float[ndarray, "rows columns"]:
        """Returns for each line the probability of each class, or the number."""
        if isinstance(self.reader, NativeModel):
            return predict_natively(self.reader, source, self.labels, pooling=self.recipe.finetune.pooling)
        return predict(self.reader, source, self.labels, batch_tokens=self.recipe.train.batch_tokens)

    def _judged(self, line: Line, values: list[float], dropped: int) -> Classification:
        shares = dict(zip(self.labels.classes, values, strict=False))
        label = max(shares, key=shares.__getitem__) if shares else None
        value = values[0] if label is None else shares[label]
        return Classification(line.text, line.pair, label, value, shares, dropped)


def _unjudged(given: Given) -> Classification:
    text, pair = (given, None) if isinstance(given, str) else given
    return Classification(text, pair, None, float("nan"), {})


def _line(given: Given, *, pairs: bool) -> Line:
    text, pair = (given, None) if isinstance(given, str) else given
    if (pair is not None) != pairs:
        rule = "one text, but the run is for pairs" if pair is None else "two texts, but the run is for single ones"
        raise DataError(rule)
    if not text.strip() or (pair is not None and not pair.strip()):
        raise DataError("the text is empty")
    return Line(repr(text[:40]), "0", text, pair)
