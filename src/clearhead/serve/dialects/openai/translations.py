"""Translations as a stream of OpenAI's events, as far as they can no longer change."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from clearhead.serve.dialects.openai.shape import Answering
from clearhead.serve.http.endpoint import PING, Asked, event
from clearhead.serve.models import Served
from clearhead.serve.translating import Grown, finish_reason, streamed

Choices = Callable[[Grown, bool, str | None], list[dict[str, Any]]]
"""The parts of a choice that some text is: whether it is the choice's first, and why it is its last, if so."""


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
    begun = set[int]()
    async for portion in streamed(asked, served, texts, answering.count):
        if not portion:
            yield PING
        elif not begun:
            answering.site.metrics.first.see(time.perf_counter() - asked.began)
        for grown in portion:
            reason = finish_reason(grown.over) if grown.over else None
            for choice in choices(grown, grown.place not in begun, reason):
                yield event(answering.part(choice))
            begun.add(grown.place)
    for end in answering.end(usage=usage):
        yield end
