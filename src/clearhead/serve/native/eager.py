"""A run by PyTorch beside the model that is served without: opened when it is first looked into."""

from pathlib import Path
from typing import TYPE_CHECKING

from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.expanded import run_directory
from clearhead.verbs.quick import check_torch

if TYPE_CHECKING:
    from clearhead.verbs.look.opened import Opened


class Eager:
    """A run that PyTorch opens when it is first looked into, and again when it has a better checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: Opened | None = None
        self._checkpoint: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has been opened."""
        return self._opened is not None

    def opened(self) -> "Opened":
        """Returns the run; of a file the one that it was made of.

        Raises:
            ModelError: it is a file of rounded weights, or PyTorch is not there.
            DataError: the run of a file cannot be written to the cache.
        """
        check_torch(self.path)
        from clearhead.verbs.look.opened import Opened

        run = run_directory(self.path)
        checkpoint = find_checkpoint(run, "best")
        if self._opened is None or checkpoint != self._checkpoint:
            self._opened = Opened.open(run, checkpoint="best", device="cpu")
            self._checkpoint = checkpoint
        return self._opened
