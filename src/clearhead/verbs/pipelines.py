"""Functions that are called as Hugging Face pipelines are, made from a run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, overload, runtime_checkable

from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import UsageError
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.writer import TextModel
from clearhead.tasks.masked.model import Filled, MaskedModel
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.load import load_language_model

PipelineTask = Literal["translation", "text-generation", "fill-mask", "text-classification"]
Translate = Callable[[str | Sequence[str]], list[dict[str, str]]]


Text = str | Mapping[str, str]
"""A text, or ``{"text": ..., "text_pair": ...}``."""


@runtime_checkable
class Classify(Protocol):
    """A text-classification pipeline, with the arguments of Hugging Face's."""

    def __call__(self, texts: Text | Sequence[Text], *, top_k: int | None = 1) -> Any:
        """Returns the most probable label of each text, as ``[{"label": ..., "score": ...}]``.

        With ``top_k`` above 1, or None for all labels, the result is such a list of labels for one text, the most
        probable first, and a list of such lists for several texts. A regression model gives its number the label
        LABEL_0.
        """


@runtime_checkable
class Continue(Protocol):
    """A text-generation pipeline, with the arguments of Hugging Face's."""

    def __call__(
        self,
        texts: str | Sequence[str],
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

    def __call__(self, texts: str | Sequence[str], *, top_k: int = 5) -> Any:
        """Returns ``[{"score", "token", "token_str", "sequence"}]`` for a text with one mask.

        For a text with several masks the result is a list of such lists, one a mask; for several texts, it is the list
        of their results.
        """


@overload
def pipeline(task: Literal["translation"], run: str | Path, *, device: str = "auto") -> Translate: ...


@overload
def pipeline(task: Literal["text-generation"], run: str | Path, *, device: str = "auto") -> Continue: ...


@overload
def pipeline(task: Literal["fill-mask"], run: str | Path, *, device: str = "auto") -> Fill: ...


@overload
def pipeline(task: Literal["text-classification"], run: str | Path, *, device: str = "auto") -> Classify: ...


def pipeline(
    task: PipelineTask,
    run: str | Path,
    *,
    device: str = "auto",
) -> Translate | Continue | Fill | Classify:
    """Returns a function that takes one text or several.

    ``translation`` gives ``[{"translation_text": ...}]``; for the others see ``Continue``, ``Fill`` and ``Classify``.

    Raises:
        UsageError: an unknown task.
        ModelError: see ``load``; or the run has another task.
    """
    if task not in get_args(PipelineTask):
        raise UsageError(f"task {task!r}: must be translation, text-generation, fill-mask or text-classification")
    match task:
        case "translation":
            return _translate(Translator.load(Path(run), device=device))
        case "text-generation":
            return _continue(load_language_model(Path(run), device=device))
        case "fill-mask":
            return _fill(MaskedModel.load(Path(run), device=device))
        case "text-classification":
            return _classify(Classifier.load(Path(run), device=device))


def _translate(translator: Translator) -> Translate:
    def translate(texts: str | Sequence[str]) -> list[dict[str, str]]:
        lines = [texts] if isinstance(texts, str) else list(texts)
        return [{"translation_text": translation.text} for translation in translator.translate(lines)]

    return translate


def _continue(model: TextModel) -> Continue:
    def carry_on(
        texts: str | Sequence[str],
        *,
        max_new_tokens: int = 200,
        num_return_sequences: int = 1,
        do_sample: bool = True,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Any:
        prompts, count = [texts] if isinstance(texts, str) else list(texts), num_return_sequences
        generations = model.generate(
            prompts,
            GenerationConfig(max_new=max_new_tokens, n=count),
            sampling=SamplingConfig(temperature if do_sample else 0.0, top_k, top_p),
        )
        results = [{"generated_text": generation.prompt + generation.text} for generation in generations]
        ranked = [results[at : at + count] for at in range(0, len(results), count)]
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

    def fill(texts: str | Sequence[str], *, top_k: int = 5) -> Any:
        filled = [as_pipeline(text) for text in model.fill([texts] if isinstance(texts, str) else texts, top_k=top_k)]
        return filled[0] if isinstance(texts, str) else filled

    return fill


def _classify(classifier: Classifier) -> Classify:
    def classify(texts: Text | Sequence[Text], *, top_k: int | None = 1) -> Any:
        alone = isinstance(texts, str | Mapping)
        several: Sequence[Any] = [texts] if alone else list(texts)
        inputs = [text if isinstance(text, str) else (text["text"], text["text_pair"]) for text in several]
        ranked = []
        for judged in classifier.classify(inputs):
            shares = judged.probabilities or {"LABEL_0": judged.score}
            best = sorted(shares.items(), key=lambda item: -item[1])[:top_k]
            ranked.append([{"label": label, "score": share} for label, share in best])
        if top_k == 1:
            return [labels[0] for labels in ranked]
        return ranked[0] if alone else ranked

    return classify
