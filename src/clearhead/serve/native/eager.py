"""A run by PyTorch beside the model that is served without: opened when it is first looked into."""

from pathlib import Path
from typing import TYPE_CHECKING

from clearhead.engine.weights.file import is_model_file
from clearhead.errors import ModelError
from clearhead.runs.pointers import find_checkpoint
from clearhead.verbs.quick import check_torch

if TYPE_CHECKING:
    from clearhead.verbs.look.opened import Opened


class Eager:
    """A run that PyTorch opens when it is first looked into, and again when it has a better checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: Opened | None = None
        self._checkpoint: Path | None = None

    def opened(self) -> "Opened":
        """Returns the run.

        Raises:
            ModelError: it is a file, which PyTorch does not read, or PyTorch is not there.
        """
        if is_model_file(self.path):
            raise ModelError("the model is a file without a run: looking inside needs the run that it was made of")
        check_torch(self.path)
        from clearhead.verbs.look.opened import Opened

        checkpoint = find_checkpoint(self.path, "best")
        if self._opened is None or checkpoint != self._checkpoint:
            self._opened = Opened.open(self.path, checkpoint="best", device="cpu")
            self._checkpoint = checkpoint
        return self._opened
