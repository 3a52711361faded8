"""Translations that end before stop strings; as a stream of OpenAI's events, as far as they can no longer change."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from clearhead.decode.streaming import StopStrings
from clearhead.serve.dialects.openai.asked import stops_of
from clearhead.serve.dialects.openai.shape import Answering
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import PING, Asked, event
from clearhead.serve.models import Served
from clearhead.serve.translating import Grown, finish_reason, streamed, translated

Choices = Callable[[Grown, bool, str | None], list[dict[str, Any]]]
"""The parts of a choice that some text is: whether it is the choice's first, and why it is its last, if so."""
UNSUPPORTED = ("logprobs", "logit_bias", "bad_words", "no_repeat_ngram")
"""Fields that would change what a translator answers, and do not."""


def check_fields(fields: Fields, *more: str) -> None:
    """Refuses the fields that a translator cannot do, and ``more`` of them."""
    for name in (*UNSUPPORTED, *more):
        if fields.tree.get(name):
            fields.refuse(name, "is not for a translator")


class Stopping:
    """The beginning of a translation, which is told in parts, up to a stop string.

    Args:
        stops: that end it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = StopStrings(stops)
        self._is_over = False

    def told(self, grown: Grown) -> tuple[str, str | None]:
        """Takes the next part; returns what is told of it, and OpenAI's word for how it ended, if it has."""
        text = ""
        if not self._is_over:
            text, self._is_over = self._stops.push(grown.text)
            if grown.over and not self._is_over:
                text += self._stops.flush()
        if grown.over is None:
            return text, None
        return text, "stop" if self._is_over else finish_reason(grown.over)


async def translated_until(
    asked: Asked, served: Served, texts: list[str], answering: Answering
) -> list[tuple[str, str]]:
    """Returns the translations of all texts in a row, each with OpenAI's word for how it ended."""
    stops = stops_of(asked.fields)
    found = await translated(asked, served, texts)
    answering.count(found)
    each = [translation for ranked in found for translation in ranked]
    told = [Stopping(stops).told(Grown(place, one.text, one)) for place, one in enumerate(each)]
    return [(text, str(reason)) for text, reason in told]


async def translation_events(
    asked: Asked, served: Served, texts: list[str], answering: Answering, choices: Choices, *, usage: bool
) -> AsyncIterator[str]:
    """Yields the events.

    Args:
        asked: the request.
        served: the translator.
        texts: that are translated.
        answering: the answer.
        choices: shapes the parts of it.
        usage: whether the pieces are counted at the end.
    """
    stops, begun, endings = stops_of(asked.fields), set[int](), dict[int, Stopping]()
    async for portion in streamed(asked, served, texts, answering.count):
        if not portion:
            yield PING
        elif not begun:
            answering.site.metrics.first.see(time.perf_counter() - asked.began)
        for grown in portion:
            text, reason = endings.setdefault(grown.place, Stopping(stops)).told(grown)
            if not (text or reason):
                continue
            for choice in choices(replace(grown, text=text), grown.place not in begun, reason):
                yield event(answering.part(choice))
            begun.add(grown.place)
    for end in answering.end(usage=usage):
        yield end
