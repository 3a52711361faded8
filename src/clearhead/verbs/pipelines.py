"""Functions that are called as Hugging Face pipelines are, made from a run."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, overload, runtime_checkable

from clearhead.arguments import checked
from clearhead.brief import brief
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import DataError, UsageError
from clearhead.ranges import Count
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.texts import Given
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.writer import TextModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.texts import Filled
from clearhead.tasks.translation.translator import Translator
from clearhead.training.device import Device
from clearhead.verbs.load import PipelineTask, load

Translate = Callable[[str | Iterable[str]], list[dict[str, str]]]

Text = str | Mapping[str, str]
"""A text, or ``{"text": ...}``, for a pair with ``"text_pair": ...`` too."""


@runtime_checkable
class Classify(Protocol):
    """A text-classification pipeline, with the arguments of Hugging Face's."""

    def __call__(self, texts: Text | Iterable[Text], *, top_k: int | None = 1) -> Any:
        """Returns ``[{"label": ..., "score": ...}]``, one for each text; with ``top_k`` a list for each of several.

        With ``top_k`` above 1, or None for all labels, the result is such a list of labels for one text, the most
        probable first, and a list of such lists for several texts. A regression model gives its number the label
        LABEL_0.
        """


@runtime_checkable
class Continue(Protocol):
    """A text-generation pipeline, with the arguments of Hugging Face's."""

    def __call__(
        self,
        texts: str | Iterable[str],
        *,
        max_new_tokens: int = 200,
        num_return_sequences: int = 1,
        do_sample: bool = True,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Any:
        """Returns ``[{"generated_text": ...}]`` for one text, a list of such lists for several; with the prompts."""


@runtime_checkable
class Fill(Protocol):
    """A fill-mask pipeline, with the arguments of Hugging Face's."""

    def __call__(self, texts: str | Iterable[str], *, top_k: int = 5) -> Any:
        """Returns ``[{"score", "token", "token_str", "sequence"}]`` for a text with one mask.

        For a text with several masks the result is a list of such lists, one a mask; for several texts, it is the list
        of their results.
        """


@overload
def pipeline(task: Literal["translation"], run: str | Path, *, device: Device = "auto") -> Translate: ...


@overload
def pipeline(task: Literal["text-generation"], run: str | Path, *, device: Device = "auto") -> Continue: ...


@overload
def pipeline(task: Literal["fill-mask"], run: str | Path, *, device: Device = "auto") -> Fill: ...


@overload
def pipeline(task: Literal["text-classification"], run: str | Path, *, device: Device = "auto") -> Classify: ...


@checked
def pipeline(
    task: PipelineTask,
    run: str | Path,
    *,
    device: Device = "auto",
) -> Translate | Continue | Fill | Classify:
    """Returns a function that takes one text or several.

    ``translation`` gives ``[{"translation_text": ...}]``; for the others see ``Continue``, ``Fill`` and ``Classify``.
    In a list, a text that cannot be answered gives a dict with ``error``, and the others are answered; alone it raises.

    Raises:
        UsageError: an unknown task, or another argument that is wrong.
        ModelError: see ``load``; or the run has another task.
    """
    match task:
        case "translation":
            return _translate(load(run, task=task, device=device))
        case "text-generation":
            return _continue(load(run, task=task, device=device))
        case "fill-mask":
            return _fill(load(run, task=task, device=device))
        case "text-classification":
            return _classify(load(run, task=task, device=device))


class Errors:
    """What is wrong with texts of a list: each has ``error`` in its place, and the others are answered."""

    def __init__(self, *, alone: bool) -> None:
        self._alone, self._messages = alone, dict[int, str]()

    def note(self, number: int, error: DataError) -> None:
        """Keeps the error of a text; raises it if the text is the only one."""
        if self._alone:
            raise error
        self._messages[number] = str(error)

    def of(self, number: int) -> dict[str, str]:
        """Returns ``{"error": ...}`` for a text that cannot be answered, else an empty dict."""
        return {"error": self._messages[number]} if number in self._messages else {}


def _several(texts: Any) -> tuple[list[Any], Errors]:
    """Returns one text or several as a list, and where their errors go."""
    alone = isinstance(texts, str | Mapping)
    return [texts] if alone else list(texts), Errors(alone=alone)


def _translate(translator: Translator) -> Translate:
    @checked
    def translate(texts: str | Iterable[str]) -> list[dict[str, str]]:
        lines, errors = _several(texts)
        translations = translator.translate(lines, on_error=errors.note)
        return [{"translation_text": each.text, **errors.of(number)} for number, each in enumerate(translations)]

    return translate


def _continue(model: TextModel) -> Continue:
    @checked
    def carry_on(
        texts: str | Iterable[str],
        *,
        max_new_tokens: int = 200,
        num_return_sequences: int = 1,
        do_sample: bool = True,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Any:
        prompts, errors = _several(texts)
        generations = model.generate_each(
            prompts,
            GenerationConfig(max_new=max_new_tokens, n=num_return_sequences),
            sampling=SamplingConfig(temperature if do_sample else 0.0, top_k, top_p),
            on_error=errors.note,
        )
        ranked = [
            [{"generated_text": each.prompt + each.text} for each in several]
            or [{"generated_text": "", **errors.of(number)}]
            for number, several in enumerate(generations)
        ]
        return ranked[0] if isinstance(texts, str) else ranked

    return carry_on


def _fill(model: MaskedModel) -> Fill:
    def as_pipeline(filled: Filled) -> Any:
        masks = [
            [
                {
                    "score": candidate.probability,
                    "token": candidate.id,
                    "token_str": model.tokenizer.spelling(candidate.id).decode("utf-8", "replace"),
                    "sequence": candidate.text,
                }
                for candidate in candidates
            ]
            for candidates in filled.masks
        ]
        return masks[0] if len(masks) == 1 else masks

    @checked
    def fill(texts: str | Iterable[str], *, top_k: int = 5) -> Any:
        lines, errors = _several(texts)
        results = model.fill(lines, top_k=top_k, on_error=errors.note)
        filled = [[errors.of(at)] if errors.of(at) else as_pipeline(result) for at, result in enumerate(results)]
        return filled[0] if isinstance(texts, str) else filled

    return fill


def _classify(classifier: Classifier) -> Classify:
    @checked
    def classify(texts: Text | Iterable[Text], *, top_k: Count | None = 1) -> Any:
        alone = isinstance(texts, str | Mapping)
        several, errors = _several(texts)
        ranked: list[list[dict[str, Any]]] = []
        for number, judged in enumerate(classifier.classify(list(map(_given, several)), on_error=errors.note)):
            shares = judged.probabilities or {"LABEL_0": judged.score}
            best = sorted(shares.items(), key=lambda item: -item[1])[:top_k]
            scored: list[dict[str, Any]] = [{"label": label, "score": share} for label, share in best]
            ranked.append([{"label": None, **errors.of(number)}] if errors.of(number) else scored)
        if top_k == 1:
            return [labels[0] for labels in ranked]
        return ranked[0] if alone else ranked

    return classify


def _given(text: Text) -> Given:
    """Returns what a classifier takes for a text of a pipeline."""
    if isinstance(text, str):
        return text
    if "text" not in text or set(text) - {"text", "text_pair"}:
        raise UsageError(f"texts = {brief(text)}: a mapping has the key text, and for a pair text_pair")
    return (text["text"], text["text_pair"]) if "text_pair" in text else text["text"]
