"""The interface of a model family: the verbs call it and need no branch for each family."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from clearhead.checkpoint import LoadReport
from clearhead.config import Tree
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError, UsageError
from clearhead.evaluate.paired import Counts, Metric
from clearhead.interop.spelling import Tensors
from clearhead.optim.build import RateOf, same_rate
from clearhead.progress import Progress, silent
from clearhead.ranges import Beam, Length, LengthPenalty
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes, TextParts, load_text_parts
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.expanded import open_run
from clearhead.tasks.imported import Imported
from clearhead.tasks.packed import Packing
from clearhead.tasks.room import check_room
from clearhead.tasks.sample import Sample
from clearhead.tasks.warm_start import Start, open_start, start_of
from clearhead.text.language import BleuTokenize
from clearhead.training.device import Device, pick_device
from clearhead.training.generators import seed_generators
from clearhead.training.job import GradientJob, Job, fresh_state
from clearhead.training.step import SizedBatch

Task = Literal["translation", "rnn_translation", "language_model", "rnn_language_model", "ngram", "masked", "classify"]
"""The values of a recipe's key ``task``."""
VERB_OF: dict[str, str] = {
    "translation": "translate",
    "rnn_translation": "translate",
    "language_model": "generate",
    "rnn_language_model": "generate",
    "ngram": "generate",
    "masked": "fill",
    "classify": "classify",
}
"""The verb that uses the runs of each task."""
HuggingFaceFiles = tuple[Tree, Tensors, Mapping[str, str | bytes]]
"""Config, tensors and tokenizer files of a model in Hugging Face's layout."""
FEWEST = ModelSizes(8, 8, labels=Labels(("no", "yes"), pairs=False))
"""What the text of a model gives it at least."""


@runtime_checkable
class Trained(Protocol):
    """What every loaded run has."""

    @property
    def recipe(self) -> Any:
        """The recipe that it was trained with."""

    @property
    def model(self) -> Any:
        """The trained model."""

    @property
    def step(self) -> int:
        """The training step of its weights."""

    @property
    def packing(self) -> Packing | None:
        """What stands beside its weights in a file; None if it was not loaded from a run."""


R = TypeVar("R")
T = TypeVar("T", bound=Trained)
M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=SizedBatch)


@dataclass(frozen=True)
class EvaluationOptions:
    """How a split is scored; each family reads the fields that concern it."""

    beam: Beam = 5
    """Beam width of a translator's search; 1 is greedy."""
    length_penalty: LengthPenalty = 1.0
    """Length penalty of that search, see ``SearchConfig``."""
    tokenize: BleuTokenize | None = None
    """sacreBLEU's tokenizer; None takes the one of the recipe, which is by default that of the target language."""
    to: str = ""
    """Of a translator of several directions, the target language of those that are scored; empty: all of them."""
    source: str = ""
    """Likewise the source language."""
    stride: Length | None = None
    """How many targets each window of a language model scores; None is half of the context."""


class Evaluation(ABC):
    """All scores of one split."""

    @abstractmethod
    def lines(self, step: int) -> list[str]:
        """Returns the scores as text for a terminal; ``step`` is the training step of the weights."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Returns the scores as plain values, for JSON."""

    def warnings(self) -> list[str]:
        """Returns what else a reader of the scores should know."""
        return []

    def write(self, path: Path) -> None:
        """Writes the predictions to a file.

        Raises:
            UsageError: this family has no file of predictions.
            DataError: the file cannot be written.
        """
        raise UsageError(f"--output {str(path)!r}: is for translators and classifiers; leave it out")


@dataclass(frozen=True)
class ComparedScores:
    """The scores by which a run is compared with others."""

    scores: dict[str, float | None]
    """Scores by name, in display order; None where the run has no such score."""
    decoded_per_second: float | None
    """Pieces that the model generates in a second; None for a model that generates no text."""
    counts: Mapping[str, tuple[Metric, Counts]] = field(default_factory=dict)
    """Scores, by name, that are made of what each line counts for, so that runs can be compared line by line."""


class Family(ABC, Generic[R, T]):
    """A kind of model, with recipes of type R and trained runs of type T."""

    words: ClassVar[tuple[str, ...]]
    """The values of ``task`` in its recipes."""
    warm: ClassVar[bool] = False
    """Whether training may begin with a trained model."""
    seeded: ClassVar[bool] = False
    """Whether training draws from ``train.seed``, so that runs of other seeds differ."""
    foldable: ClassVar[bool] = False
    """Whether each run may hold out another part of the lines, and be trained without its pretrained model too."""
    noun: ClassVar[str]
    """What a model of this family is called."""
    tag: ClassVar[str]
    """What its models are for, in Hugging Face's word."""
    compare_note: ClassVar[str]
    """Explains the scores of ``compared`` to their reader."""

    @property
    def verb(self) -> str:
        """The verb that uses its runs."""
        return VERB_OF[self.words[0]]

    @abstractmethod
    def parse(self, tree: Tree, source: str) -> R:
        """Builds the recipe.

        Args:
            tree: its keys and values.
            source: what to call it in errors.

        Raises:
            UsageError: a key or value is wrong.
        """

    @abstractmethod
    def prepare(
        self, tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent
    ) -> Job:
        """Reads the text and builds the model, the optimizer and everything else that training needs.

        Args:
            tree: the recipe.
            source: what to call it in errors.
            data: a text file, or a folder of them, as the family reads them.
            run: the run to resume, whose tokenizers are used; None trains new ones, or takes those of ``start``.
            progress: called with how much of the text is encoded.

        Raises:
            UsageError: the recipe is wrong.
            DataError: the text cannot be used.
            ModelError: the model that the recipe starts from cannot be read, or the model is larger than the memory.
        """

    @abstractmethod
    def load(self, run: SavedRun, *, device: Device = "auto") -> T:
        """Loads a trained run.

        Raises:
            ModelError: the run has no checkpoint yet, or the checkpoint is damaged.
        """

    @abstractmethod
    def goal(self, recipe: R) -> str:
        """Returns the purpose of a recipe's runs; only runs with the same goal can be compared."""

    def measured_by(self, recipe: R, options: EvaluationOptions) -> str:
        """Describes how ``compared`` measures where a recipe or option decides that; runs must be measured alike."""
        return ""

    @abstractmethod
    def sizes(self, recipe: R) -> str:
        """Describes a recipe's model in a few words."""

    @abstractmethod
    def parameters(self, trained: T) -> int:
        """Counts the parameters of the model."""

    @abstractmethod
    def evaluate(self, trained: T, data: Path, split: str, options: EvaluationOptions) -> Evaluation:
        """Scores a split.

        Raises:
            DataError: the text cannot be used.
            UsageError: there is no such split, or an option is wrong.
        """

    @abstractmethod
    def compared(self, trained: T, data: Path, split: str, options: EvaluationOptions) -> ComparedScores:
        """Computes the scores that runs with the same goal can be compared by; raises as ``evaluate`` does."""

    @abstractmethod
    def check_hugging_face(self, recipe: R) -> None:
        """Raises ModelError, with the key, if no class of Hugging Face's is a model of ``recipe``; needs no weights."""

    def kept_by_onnx_alone(self, recipe: R) -> str:
        """Returns the setting that of all formats of ``export`` only ONNX keeps; nothing if there is none."""
        return ""

    @abstractmethod
    def to_hugging_face(self, trained: T) -> HuggingFaceFiles:
        """Returns the model as Hugging Face's classes load it.

        Raises:
            ModelError: no class of Hugging Face represents the model; the message names the recipe key that differs.
        """


class LearnedFamily(Family[R, T], Generic[R, T, M, B]):
    """A family whose models, of type M, are trained by gradient descent on batches of type B."""

    seeded = True
    example: ClassVar[str] = '"..."'
    """An example argument of its verb."""
    embeds: ClassVar[bool] = False
    """Whether ``clearhead embed`` makes vectors of texts with its models."""
    further: ClassVar[str]
    """An example command, without ``clearhead``, that continues from a trained model; ``{}`` stands for the run."""
    batch: type[B]
    job: type[GradientJob[M, B]]

    def prepare(
        self, tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent
    ) -> GradientJob[M, B]:
        """See ``Family``."""
        start = self.open_start(Path(start_of(tree)), tree) if start_of(tree) and run is None else None
        recipe: Any = start.recipe(tree, source, self.parse) if start else self.parse(tree, source)
        device = pick_device(recipe.train.device)
        known = start.parts if start else self.parts(run) if run else None
        check_room(self.build, recipe, known.sizes if known else FEWEST, device)  # before hours of reading
        parts, train, valid = self.read(data, recipe, known, progress)
        check_room(self.build, recipe, parts.sizes, device)
        seed_generators(recipe.train.seed)
        model = self.build(recipe, parts.sizes)
        taken = self.take_over(start, model, recipe, parts.sizes) if start else None
        state = fresh_state(model.to(device), recipe, self.rates(recipe))
        return self.job(recipe, parts, state, device, train, valid, taken)

    def open_start(self, path: Path, tree: Tree) -> Start:
        """Opens the model that training by the recipe ``tree`` begins with; see ``warm_start.open_start``."""
        return open_start(path, self, tree)

    def take_over(self, start: Start, model: M, recipe: R, sizes: ModelSizes) -> LoadReport | None:
        """Copies the weights of ``start`` into ``model``; returns None where the recipe takes none of them.

        Raises:
            ModelError: a tensor does not fit.
        """
        return start.load_into(model, sizes)

    @abstractmethod
    def read(self, data: Path, recipe: R, known: TextParts | None, progress: Progress) -> tuple[TextParts, Any, Any]:
        """Reads and encodes the train and the valid split, with ``known`` tokenizers or new ones trained on the first.

        Raises:
            DataError: the text cannot be used.
            UsageError: the tokenizer or the sizes do not fit together.
        """

    def parts(self, run: Path) -> TextParts:
        """Reads the tokenizers and labels of a run; raises ModelError if a file is missing or damaged."""
        return load_text_parts(run)

    def parameters(self, trained: T) -> int:
        """See ``Family``."""
        return sum(parameter.numel() for parameter in trained.model.parameters())

    def sketch(self, tree: Tree, source: str) -> R:
        """Builds the recipe as ``parse`` does, for a forecast without text; keys that depend on it may be missing."""
        return self.parse(tree, source)

    @abstractmethod
    def build(self, recipe: R, sizes: ModelSizes) -> M:
        """Builds the model with fresh weights; raises UsageError if a size is wrong."""

    @abstractmethod
    def loss(self, model: M, batch: B, recipe: R, sizes: ModelSizes) -> tuple[Tensor, int]:
        """Returns (sum of the training loss over real targets, their number)."""

    def rates(self, recipe: R) -> RateOf:
        """Returns the factor of each parameter's learning rate."""
        return same_rate

    @abstractmethod
    def width(self, recipe: R) -> int:
        """Returns the number of positions in the longest row that a recipe allows."""

    @abstractmethod
    def blank(self, recipe: R, rows: int, width: int) -> B:
        """Makes a batch of zeros without padding, to measure a step without text."""

    @abstractmethod
    def batch_of(self, trained: T, sample: Sample) -> B:
        """Makes a training batch of the sample's text, or of random pieces.

        Raises:
            DataError: the text has more pieces than the model has room for.
        """

    @abstractmethod
    def inputs(self, batch: B) -> dict[str, Tensor]:
        """Returns the keyword arguments of the model's ``forward``."""

    @abstractmethod
    def evidence(self, trained: T, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
        """Returns what an exported model is compared on: the first lines of a split.

        Args:
            trained: the run.
            data: its text, as for ``evaluate``; None takes random pieces.
            count: how many lines.
            split: train, valid or test.

        Raises:
            DataError: the text cannot be used, or none of it fits the model.
        """

    @abstractmethod
    def read_folder(self, folder: Path, config: Tree, *, src: str = "", tgt: str = "") -> Imported:
        """Reads a model of this family from a folder in Hugging Face's layout.

        Args:
            folder: holds weights and tokenizer.
            config: its config.json.
            src: source language of a translator; empty takes the one in the folder's settings.
            tgt: target language of a translator, likewise.

        Raises:
            ModelError: the folder is incomplete, or clearhead cannot represent a part of the model, which the message
                names.
            UsageError: a translator's languages are not known.
        """


def open_for(words: tuple[str, ...], run: str | Path, *, checkpoint: str) -> SavedRun:
    """Opens a run of one family.

    Raises:
        ModelError: ``run`` is not a run directory, or its task is not in ``words``.
    """
    opened = open_run(Path(run), checkpoint=checkpoint)
    check_task(opened, words)
    return opened


def check_task(run: SavedRun, words: tuple[str, ...]) -> None:
    """Raises ModelError if the task of a run is not in ``words``."""
    if run.task in VERB_OF and run.task not in words:
        raise ModelError(
            f"run {str(run.path)!r} is for the task {run.task}, not {words[0]}: use clearhead {VERB_OF[run.task]}"
        )
