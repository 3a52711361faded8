"""What a completion asks for: its prompts, lengths, and how texts are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearhead.serve.http.body import WHOLE, Fields
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.writing import Wanted, sampling_of
from clearhead.tasks.language_model.prompts import GenerationConfig

MOST_PROMPTS, MOST_TEXTS, MOST_STOPS, MOST_LOGPROBS, MOST_BIASES = 64, 8, 4, 5, 1024
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
    given: Any = fields.tree.get("prompt")
    given = "" if given is None else given
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


def wanted_of(asked: Asked, model: Any, prompts: Sequence[str | list[int]]) -> Wanted:
    """Reads what is to be written after prompts.

    Args:
        asked: the request.
        model: a ``TextModel``.
        prompts: as ``prompts_of`` reads them.

    Raises:
        RequestError: a field is wrong, or asks for what there is not.
    """
    fields = asked.fields
    if fields.tree.get("suffix"):
        raise RequestError(400, "suffix: these models write after a prompt, not into it", param="suffix")
    texts = fields.whole("n", 1, 1, MOST_TEXTS)
    if fields.whole("best_of", texts, 1, MOST_TEXTS) != texts:
        fields.refuse("best_of", f"must be n = {texts}")
    stops = stops_of(fields)
    banned = fields.texts("bad_words", most=100, default=[])
    beam = fields.whole("beam", 0, 0, 16)
    if beam and beam < texts:
        fields.refuse("beam", f"must be at least n = {texts}")
    new = fields.whole("max_tokens", DEFAULT_NEW, 1, asked.settings.max_pieces)
    config = GenerationConfig(new, 0, texts, tuple(stops), tuple(banned), "window", beam)
    sampling = replace(sampling_of(asked), bias=bias_of(fields, model.tokenizer.vocab_size))
    return Wanted(model, prompts, config, sampling, logprobs_of(fields))


def stops_of(fields: Fields) -> list[str]:
    """Reads ``stop``: strings before which a text ends; an empty one is none."""
    return [stop for stop in fields.texts("stop", most=MOST_STOPS, default=[]) if stop]


def logprobs_of(fields: Fields) -> int:
    """Reads how many of the most probable pieces are told; 0 where none is."""
    return fields.whole("logprobs", 0, 0, MOST_LOGPROBS)


def bias_of(fields: Fields, vocab: int) -> tuple[tuple[int, float], ...]:
    """Reads ``logit_bias``: pieces as numbers in strings, and what is added to their logits."""
    given = fields.tree.get("logit_bias")
    if given is None:
        return ()
    if not isinstance(given, dict) or len(given) > MOST_BIASES:
        fields.refuse("logit_bias", f"must be an object of at most {MOST_BIASES} pieces")
    biases = Fields(given)
    for piece in given:
        if not WHOLE.fullmatch(piece) or not 0 <= int(piece) < vocab:
            fields.refuse("logit_bias", f"{piece[:20]!r} must be a piece from 0 to {vocab - 1}")
    return tuple((int(piece), biases.number(piece, 0.0, -100.0, 100.0)) for piece in given)
