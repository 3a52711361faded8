"""Loads a run by its path, and gives it the call shape of Hugging Face pipelines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from clearhead.errors import UsageError
from clearhead.tasks.translator import Translator


def load(run: str | Path, *, checkpoint: str = "best", device: str = "auto") -> Translator:
    """Loads a trained run.

    Args:
        run: the run directory.
        checkpoint: best, latest, or the name of one.
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        ModelError: not a run, no checkpoint yet, or a damaged one.
    """
    return Translator.load(Path(run), checkpoint=checkpoint, device=device)


def pipeline(
    task: Literal["translation"], run: str | Path, *, device: str = "auto"
) -> Callable[[str | Sequence[str]], list[dict[str, str]]]:
    """Returns a function of one text or several that gives ``[{"translation_text": ...}]``.

    Raises:
        UsageError: a task that there is none for.
        ModelError: see ``load``.
    """
    if task != "translation":
        raise UsageError(f"task {task!r}: must be translation")
    translator = load(run, device=device)

    def translate(texts: str | Sequence[str]) -> list[dict[str, str]]:
        lines = [texts] if isinstance(texts, str) else list(texts)
        return [{"translation_text": one.text} for one in translator.translate(lines)]

    return translate
