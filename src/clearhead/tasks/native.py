"""What uses the native engine where it can: loaded runs, and models mapped from a file; no torch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from clearhead.brief import Brief
from clearhead.engine.rows import Computed, NativeModel
from clearhead.engine.threads import threads
from clearhead.engine.weights.file import ModelFile
from clearhead.errors import ModelError


class NativeUser(ABC):
    """What reads or writes texts, by the native engine where that computes."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """Threads that the native engine takes."""

    @property
    @abstractmethod
    def _native(self) -> NativeModel | None:
        """The model as the native engine has it; None where PyTorch computes."""

    @property
    def computed(self) -> Computed:
        """Which engine computes here."""
        return "torch" if self._native is None else "native"


@dataclass(frozen=True)
class PackedModel(NativeUser, Brief):
    """A model whose weights are mapped from a file, as the native engine packs them: there is none to look into."""

    model: NativeModel
    name: str
    """Of the recipe."""
    step: int
    """Training step of the weights."""

    task: ClassVar[str]
    """What files of this kind are for, in the recipe's word."""

    @classmethod
    def _shared(cls, file: ModelFile) -> tuple[NativeModel, str, int]:
        """Returns the fields that all have.

        Raises:
            ModelError: the file is of another kind of model.
        """
        if file.about["task"] != cls.task:
            raise ModelError(f"{str(file.path)!r} is a model for {file.about['task']}, not for {cls.task}")
        return NativeModel(file.image), file.about["name"], file.about["step"]

    @property
    def threads(self) -> int:
        """See ``NativeUser``."""
        return threads()

    @property
    def _native(self) -> NativeModel:
        """See ``NativeUser``."""
        return self.model

    @property
    def device(self) -> Any:
        """Where steps, which take PyTorch, have their tensors."""
        import torch

        return torch.device("cpu")
