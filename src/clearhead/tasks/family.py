"""The contract: what every family of models answers, so that a verb asks it and needs no arm for each family."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from clearhead.checkpoint import LoadReport
from clearhead.config import Tree
from clearhead.errors import ModelError, UsageError
from clearhead.evaluate.translation import BleuTokenize
from clearhead.interop.spelling import Tensors
from clearhead.optim.build import RateOf, same_rate
from clearhead.progress import Progress, silent
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes, TextParts, load_text_parts
from clearhead.tasks.imported import Imported
from clearhead.tasks.sample import Sample
from clearhead.tasks.warm_start import Start, open_start, start_of
from clearhead.training.device import pick_device
from clearhead.training.job import GradientJob, Job, fresh_state
from clearhead.training.step import SizedBatch

Task = Literal["translation", "rnn_translation", "language_model", "rnn_language_model", "ngram", "masked", "classify"]
"""The words of a recipe that say what is trained."""
VERB_OF: dict[str, str] = {
    "translation": "translate",
    "rnn_translation": "translate",
    "language_model": "generate",
    "rnn_language_model": "generate",
    "ngram": "generate",
    "masked": "fill",
    "classify": "classify",
}
"""By task, the verb that its runs are used with."""
HuggingFaceFiles = tuple[Tree, Tensors, Mapping[str, str | bytes]]
"""Config, tensors and tokenizer files of a model in Hugging Face's layout."""


@runtime_checkable
class Trained(Protocol):
    """A loaded run: what all of them have."""

    @property
    def recipe(self) -> Any:
        """What it was trained by."""

    @property
    def model(self) -> Any:
        """What was trained."""

    @property
    def step(self) -> int:
        """The training step of its weights."""


R = TypeVar("R")
T = TypeVar("T", bound=Trained)
M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=SizedBatch)


@dataclass(frozen=True)
class EvaluationOptions:
    """How a split is scored; each family reads the fields that concern it."""

    beam: int = 5
    """Hypotheses of a translator's search; 1 is greedy."""
    length_penalty: float = 1.0
    """Of that search, see ``SearchConfig``."""
    tokenize: BleuTokenize | None = None
    """sacreBLEU's tokenizer; None is the target language's."""
    stride: int | None = None
    """Targets that a window of a language model scores; None is half of the context."""


class Evaluation(ABC):
    """All scores of one split."""

    @abstractmethod
    def lines(self, step: int) -> list[str]:
        """For a terminal; ``step`` is that of the weights."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """For JSON."""

    def warnings(self) -> list[str]:
        """What a reader of the scores should know besides."""
        return []

    def write(self, path: Path) -> None:
        """Writes to a file what was predicted.

        Raises:
            UsageError: nothing is written of this family.
            DataError: the file cannot be written.
        """
        raise UsageError(f"--output {str(path)!r}: is for translators and classifiers; leave it out")


@dataclass(frozen=True)
class ComparedScores:
    """What one run is compared with others by."""

    scores: dict[str, float | None]
    """By name, in the order to show; None: it has no such score."""
    decoded_per_second: float | None
    """Pieces that it writes in a second; None: it writes no text."""


class Family(ABC, Generic[R, T]):
    """One kind of models: recipes of type R, trained runs of type T."""

    words: ClassVar[tuple[str, ...]]
    """Task words of its recipes."""
    warm: ClassVar[bool] = False
    """Whether its training may begin with a trained model."""
    repeatable: ClassVar[bool] = False
    """Whether one recipe may be trained several times, for the mean and deviation of its scores."""
    noun: ClassVar[str]
    """What its models are called."""
    compare_note: ClassVar[str]
    """What a reader of ``compared`` should know about the scores."""

    @property
    def verb(self) -> str:
        """The verb that its runs are used with."""
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
        """Reads the text, and builds the model of a run and all that its training needs.

        Args:
            tree: the recipe.
            source: what to call it in errors.
            data: a text file, or a folder of them, as the family reads them.
            run: has the tokenizers, if this run goes on; None trains them, or takes those of ``start``.
            progress: called with how much of the text is encoded.

        Raises:
            UsageError: the recipe is wrong.
            DataError: the text cannot be used.
            ModelError: what the recipe starts from cannot be read.
        """

    @abstractmethod
    def load(self, run: SavedRun, *, device: str = "auto") -> T:
        """Loads a trained run.

        Raises:
            ModelError: it has no checkpoint yet, or a damaged one.
        """

    @abstractmethod
    def goal(self, recipe: R) -> str:
        """Says what runs of a recipe are for; only runs with the same goal can be compared."""

    @abstractmethod
    def sizes(self, recipe: R) -> str:
        """Says in a few words what model a recipe has."""

    @abstractmethod
    def parameters(self, trained: T) -> int:
        """Counts the numbers that were learned."""

    @abstractmethod
    def evaluate(self, trained: T, data: Path, split: str, options: EvaluationOptions) -> Evaluation:
        """Scores a split.

        Raises:
            DataError: the text cannot be used.
            UsageError: there is no such split, or an option is wrong.
        """

    @abstractmethod
    def compared(self, trained: T, data: Path, split: str, options: EvaluationOptions) -> ComparedScores:
        """Scores a split by what runs of the same goal can be compared by; raises as ``evaluate`` does."""

    @abstractmethod
    def to_hugging_face(self, trained: T, run: str) -> HuggingFaceFiles:
        """Returns the model as Hugging Face's classes load it; ``run`` is its directory, for errors.

        Raises:
            ModelError: no class of theirs is such a model; the message names the key.
        """


class LearnedFamily(Family[R, T], Generic[R, T, M, B]):
    """A family whose models M learn by gradients on batches B."""

    example: ClassVar[str] = '"..."'
    """A text as its verb takes it."""
    further: ClassVar[str]
    """A command line, without ``clearhead``, that goes on with a model of this family; ``{}`` stands for the run."""
    batch: type[B]
    job: type[GradientJob[M, B]]

    def prepare(
        self, tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = silent
    ) -> GradientJob[M, B]:
        """See ``Family``."""
        start = self.open_start(Path(start_of(tree)), str(tree["task"])) if start_of(tree) and run is None else None
        recipe: Any = start.recipe(tree, source, self.parse) if start else self.parse(tree, source)
        device = pick_device(recipe.train.device)
        known = start.parts if start else self.parts(run) if run else None
        parts, train, valid = self.read(data, recipe, known, progress)
        torch.manual_seed(recipe.train.seed)
        model = self.build(recipe, parts.sizes)
        taken = self.take_over(start, model, recipe, parts.sizes) if start else None
        state = fresh_state(model.to(device), recipe, self.rates(recipe))
        return self.job(recipe, parts, state, device, train, valid, taken)

    def open_start(self, path: Path, task: str) -> Start:
        """Opens the model that a training of ``task`` begins with; see ``warm_start.open_start``."""
        return open_start(path, self, task)

    def take_over(self, start: Start, model: M, recipe: R, sizes: ModelSizes) -> LoadReport | None:
        """Copies the weights that a training begins with; None where the recipe wants none of them.

        Raises:
            ModelError: a tensor does not fit.
        """
        return start.load_into(model, sizes)

    @abstractmethod
    def read(self, data: Path, recipe: R, known: TextParts | None, progress: Progress) -> tuple[TextParts, Any, Any]:
        """Reads and encodes the train and the valid split, with tokenizers trained on the first unless some are known.

        Raises:
            DataError: the text cannot be used.
            UsageError: the tokenizer or the sizes do not fit together.
        """

    def parts(self, run: Path) -> TextParts:
        """Reads what a run keeps besides weights; raises ModelError if it is missing or damaged."""
        return load_text_parts(run)

    def parameters(self, trained: T) -> int:
        """See ``Family``."""
        return sum(parameter.numel() for parameter in trained.model.parameters())

    def sketch(self, tree: Tree, source: str) -> R:
        """Builds the recipe where no text is at hand, as ``parse`` does; what only text decides may be left out."""
        return self.parse(tree, source)

    @abstractmethod
    def build(self, recipe: R, sizes: ModelSizes) -> M:
        """Builds the model with fresh weights; raises UsageError if a size is wrong."""

    @abstractmethod
    def loss(self, model: M, batch: B, recipe: R, sizes: ModelSizes) -> tuple[Tensor, int]:
        """Returns (sum of the training loss over real targets, their number)."""

    def rates(self, recipe: R) -> RateOf:
        """Returns by how much each parameter's rate differs from the recipe's."""
        return same_rate

    @abstractmethod
    def width(self, recipe: R) -> int:
        """Positions of the widest row that a recipe allows."""

    @abstractmethod
    def blank(self, recipe: R, rows: int, width: int) -> B:
        """Makes a batch without padding and without content."""

    @abstractmethod
    def batch_of(self, trained: T, sample: Sample) -> B:
        """Makes a batch of a text, or of random pieces, as in training.

        Raises:
            DataError: the text has more pieces than the model has room for.
        """

    @abstractmethod
    def inputs(self, batch: B) -> dict[str, Tensor]:
        """Returns what the model's ``forward`` takes by name."""

    @abstractmethod
    def read_folder(self, folder: Path, config: Tree, *, src: str = "", tgt: str = "") -> Imported:
        """Reads a model of this family from a folder in Hugging Face's layout.

        Args:
            folder: holds weights and tokenizer.
            config: its config.json.
            src: language that a translator reads; empty is what the folder says.
            tgt: language that it writes.

        Raises:
            ModelError: the folder is incomplete, or the model has what ours cannot represent; the message names it.
            UsageError: the languages of a translator are not known.
        """


def open_for(words: tuple[str, ...], run: Path, *, checkpoint: str) -> SavedRun:
    """Opens a run of one family.

    Raises:
        ModelError: ``run`` is not a run directory, or its task is none of ``words``.
    """
    opened = SavedRun.open(run, checkpoint=checkpoint)
    if opened.task in VERB_OF and opened.task not in words:
        raise ModelError(
            f"run {str(run)!r} is for the task {opened.task}, not {words[0]}: use clearhead {VERB_OF[opened.task]}"
        )
    return opened
