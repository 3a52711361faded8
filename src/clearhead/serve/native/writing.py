"""Texts of a language model for the page: piece by piece, with what could have come in place of each."""

import math
import time
from collections.abc import AsyncIterator
from typing import Any

from clearhead.decode.streaming import TextStream
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import PING, Asked, event
from clearhead.serve.work.service import Ended
from clearhead.serve.writing import Wanted, Wrote, sampling_of, written
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.writer import TextModel
from clearhead.tasks.native import engine_model

NEW, MOST_NEW, MOST_TOP = 64, 1024, 10


def wanted_of(model: TextModel, asked: Asked) -> Wanted:
    """Reads what is to be written behind ``prompt`` and ``pieces``, the ids of what was written behind it before."""
    fields = asked.fields
    config = GenerationConfig(max_new=fields.whole("max_new", NEW, 1, MOST_NEW))
    prompt, pieces = fields.text("prompt", ""), _ids(fields, model.tokenizer.vocab_size)
    given: str | list[int] = [*model._prompt(prompt, config).ids, *pieces] if pieces else prompt
    return Wanted(model, [given], config, sampling_of(asked), top=fields.whole("top", 5, 0, MOST_TOP))


def _ids(fields: Fields, size: int) -> list[int]:
    given = fields.tree.get("pieces") or []
    if not isinstance(given, list) or not all(type(each) is int and 0 <= each < size for each in given):
        fields.refuse("pieces", f"must be a list of pieces, each from 0 to {size - 1}")
    return given


async def generate(model: TextModel, asked: Asked) -> AsyncIterator[str]:
    """Yields events: of each piece what it is and what could have come in its place, at last why the text ended."""
    wanted, began = wanted_of(model, asked), time.perf_counter()
    text = _stream_behind(model, wanted.encoded[0].ids)
    async for events in written(asked, wanted):
        if not events:
            yield PING
        for each in events:
            if isinstance(each, Ended):
                rest = text.flush().removesuffix("\ufffd")  # a character that the limit has cut
                facts = {"text": rest, "seconds": time.perf_counter() - began, "pieces": len(each.result.ids)}
                yield event(_ended(each.result) | facts)
            elif each.id >= 0:
                yield event(step_of(model, each, text.push(each.id)))
            elif engine_model(model) is None:  # which says no pieces, only texts
                yield event({"id": -1, "text": each.text})


def _stream_behind(model: TextModel, given: list[int]) -> TextStream:
    """Returns what spells the pieces behind those that are given, whose last character need not be whole."""
    stream = TextStream(model.tokenizer.decode)
    for piece in given:
        stream.push(piece)
    return stream


def step_of(model: TextModel, wrote: Wrote, text: str) -> dict[str, Any]:
    """Returns the event of one piece; ``text`` is what can no longer change since the one before."""
    tokenizer = model.tokenizer
    names = tokenizer.pieces([index for index, _ in wrote.top])
    return {
        "id": wrote.id,
        "piece": tokenizer.pieces([wrote.id])[0],
        "text": text,
        "probability": math.exp(wrote.log_prob),
        "top": [[index, name, math.exp(log_prob)] for (index, log_prob), name in zip(wrote.top, names, strict=True)],
    }


def _ended(result: Any) -> dict[str, Any]:
    return {"done": True, "reason": result.reason, "dropped": result.dropped, "unknown": result.unknown}
