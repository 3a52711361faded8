"""What a completion asks for: its prompts, lengths, and how texts are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.writing import Wanted, sampling_of
from clearhead.tasks.language_model.prompts import GenerationConfig

MOST_PROMPTS, MOST_TEXTS, MOST_STOPS, MOST_LOGPROBS = 64, 8, 4, 5
DEFAULT_NEW = 16


@dataclass(frozen=True)
class Streamed:
    """Whether an answer comes in parts, and whether the last one counts pieces."""

    on: bool
    usage: bool

    @classmethod
    def of(cls, fields: Fields) -> "Streamed":
        """Reads ``stream`` and ``stream_options``."""
        options = fields.tree.get("stream_options") or {}
        if not isinstance(options, dict):
            fields.refuse("stream_options", "must be an object")
        return cls(fields.flag("stream"), Fields(options).flag("include_usage"))


def prompts_of(fields: Fields) -> list[str | list[int]]:
    """Reads ``prompt``: a text, several, a list of pieces, or several of these."""
    given: Any = fields.tree.get("prompt", "")
    if isinstance(given, str) or _are_pieces(given):
        given = [given]
    if (
        not isinstance(given, list)
        or not given
        or not all(isinstance(each, str) or _are_pieces(each) for each in given)
    ):
        fields.refuse("prompt", "must be a string, a list of strings, or pieces as numbers")
    if len(given) > MOST_PROMPTS:
        fields.refuse("prompt", f"has {len(given)} prompts, at most {MOST_PROMPTS}")
    return given


def _are_pieces(given: Any) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(each, int) and not isinstance(each, bool) for each in given)
    )


def wanted_of(asked: Asked, prompts: Sequence[str | list[int]], *, key: str = "max_tokens") -> Wanted:
    """Reads what is to be written after prompts.

    Raises:
        RequestError: a field is wrong, or asks for what there is not.
    """
    fields = asked.fields
    if fields.tree.get("suffix"):
        raise RequestError(400, "suffix: these models write after a prompt, not into it", param="suffix")
    texts = fields.whole("n", 1, 1, MOST_TEXTS)
    if fields.whole("best_of", texts, 1, MOST_TEXTS) != texts:
        fields.refuse("best_of", f"must be n = {texts}")
    stops = [stop for stop in fields.texts("stop", most=MOST_STOPS, default=[]) if stop]
    banned = fields.texts("bad_words", most=100, default=[])
    beam = fields.whole("beam", 0, 0, 16)
    if fields.tree.get("logit_bias"):
        _check_bias(fields)
    new = fields.whole(key, DEFAULT_NEW, 1, asked.settings.max_pieces)
    config = GenerationConfig(new, 0, texts, tuple(stops), tuple(banned), "window", beam if beam >= texts else 0)
    if beam and beam < texts:
        fields.refuse("beam", f"must be at least n = {texts}")
    return Wanted(prompts, config, sampling_of(asked), logprobs_of(fields))


def logprobs_of(fields: Fields) -> int:
    """Reads how many of the most probable pieces are told; 0 where none is."""
    return fields.whole("logprobs", 0, 0, MOST_LOGPROBS)


def _check_bias(fields: Fields) -> None:
    """TEMPORARY: refuses biases."""
    fields.refuse("logit_bias", "is not known here; ban words by bad_words")
