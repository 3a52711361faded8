"""Translations of a request: all its texts in one call, whose searches join those of all others; or as they grow."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from clearhead.decode.hypotheses import SearchConfig
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.models import Served
from clearhead.serve.work.delivery import Delivery
from clearhead.serve.work.service import ALIVE
from clearhead.tasks.translation.result import EMPTY, Translation
from clearhead.tasks.translation.search.native import Searching
from clearhead.tasks.translation.texts import TextTranslator
from clearhead.text.division import Division

BEAM, MOST_BEAM, MOST_TEXTS = 5, 16, 8


async def translated(
    asked: Asked,
    served: Served,
    texts: list[str],
    *,
    n_best: int | None = None,
    growing: "_Growing | None" = None,
    **options: Any,
) -> list[list[Translation]]:
    """Returns the translations of each text, best first, and says in headers what a client might not see.

    Args:
        asked: the request, which may have ``beam``, ``length_penalty``, ``max_tokens`` and ``n``.
        served: the translator.
        texts: of any length.
        n_best: translations of each; None: as the request says.
        growing: told what is settled of a single translation of each.
        options: see ``TextTranslator.n_best``; they are not checked again. A ``context`` is for models that read it.
    """
    fields = asked.fields
    count = fields.whole("n", 1, 1, MOST_TEXTS) if n_best is None else n_best
    beam = max(fields.whole("beam", BEAM, 1, MOST_BEAM), count)
    penalty = fields.number("length_penalty", 1.0, 0.0, 10.0)
    limit = fields.whole("max_tokens", 0, 0, asked.settings.max_pieces)
    model = served.now.model
    if not model.sides.reads_context:
        options.pop("context", None)
    asked.headers["X-Clearhead-Checkpoint"] = served.now.label
    on_settled = None if growing is None or count > 1 else growing.settle

    def on_divided(divisions: list[Division]) -> None:
        asked.check_size(sum(division.pieces for division in divisions))
        asked.headers["X-Clearhead-Parts"] = ",".join(str(max(1, len(each.parts))) for each in divisions[:64])
        if growing is not None:
            growing.begin(divisions)

    def translating() -> Searching[list[list[Translation]]]:
        config = SearchConfig(beam, count, penalty, limit)
        ranked = yield from model.translating(texts, config, **options, on_divided=on_divided)
        return [each or [EMPTY] for each in ranked]

    found = await asked.carry_out(model, translating(), sum(map(len, texts)), on_settled=on_settled)
    if unmet := [phrase for ranked in found for phrase in ranked[0].unmet]:
        asked.headers["X-Clearhead-Unmet"] = str(len(unmet))
    return found


@dataclass(frozen=True)
class Grown:
    """What has come of a translation since it was last told of."""

    place: int
    """Which of all translations of a request."""
    text: str
    over: Translation | None = None
    """The whole of it, once it is there."""


async def streamed(
    asked: Asked, served: Served, texts: list[str], on_found: Callable[[list[list[Translation]]], object]
) -> AsyncIterator[list[Grown]]:
    """Yields what comes of translations as soon as it can no longer change, in portions; an empty one now and then.

    Where each text has several translations nothing comes of them before they are there.

    Args:
        asked: see ``translated``.
        served: likewise.
        texts: likewise.
        on_found: told the translations, before the last portion.

    Raises:
        RequestError: see ``translated``.
    """
    delivery = Delivery(asyncio.get_running_loop())
    growing = _Growing(served.now.model, functools.partial(asked.service.engine.post.put, delivery))
    translating = asyncio.ensure_future(translated(asked, served, texts, growing=growing))
    try:
        while not translating.done():
            arriving = delivery.next()
            await asyncio.wait({arriving, translating}, timeout=ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if translating.done():
                break
            more = growing.take(arriving.result() if arriving.done() else [])
            if more or not arriving.done():
                yield more
        found = translating.result()
        on_found(found)
        each = [translation for ranked in found for translation in ranked]
        yield [Grown(place, one.text[len(growing.given(place)) :], one) for place, one in enumerate(each)]
    finally:
        translating.cancel()


@dataclass(frozen=True)
class _Settled:
    """The beginning of the translation of a part of all texts, or all of it."""

    part: int
    text: str
    whole: bool


class _Growing:
    """Translations of several texts while they are searched for.

    Args:
        model: that translates.
        tell: takes to the event loop what is settled.
    """

    def __init__(self, model: TextTranslator, tell: Callable[[_Settled], object]) -> None:
        self._model, self._tell = model, tell
        self._lengths: dict[int, int] = {}
        self._divisions = list[Division]()
        self._parts: dict[int, _Settled] = {}
        self._given: dict[int, str] = {}

    def begin(self, divisions: list[Division]) -> None:
        """Takes how the texts are divided, before anything of them is settled."""
        self._divisions = divisions

    def settle(self, part: int, ids: list[int], whole: bool) -> None:
        """Takes the pieces that the translation of a part begins with, or all of them; in the thread that computes."""
        if whole or len(ids) > self._lengths.get(part, 0):
            self._lengths[part] = len(ids)
            text = self._model.text_of(ids) if whole else self._model.settled_text(ids)
            self._tell(_Settled(part, text, whole))

    def given(self, number: int) -> str:
        """Returns what has been told of the translation of a text."""
        return self._given.get(number, "")

    def take(self, events: list[_Settled]) -> list[Grown]:
        """Takes what is settled; returns what that adds to the translations of the texts."""
        self._parts |= {event.part: event for event in events}
        more, first = list[Grown](), 0
        for number, division in enumerate(self._divisions):
            own = [self._parts.get(first + place) for place in range(len(division.parts))]
            first += len(own)
            text = self._joined(division, own)
            if len(text) > len(self.given(number)):
                more.append(Grown(number, text[len(self.given(number)) :]))
                self._given[number] = text
        return more

    def _joined(self, division: Division, parts: list[_Settled | None]) -> str:
        """Returns what the translation of a text begins with: parts that are whole, and of the next what is settled."""
        texts = list[str]()
        for part in parts:
            if part is not None and (part.whole or part.text):
                texts.append(part.text)
            if part is None or not part.whole:
                break
        begun = replace(division, parts=division.parts[: len(texts)], after="")
        return begun.join(texts, self._model.sides.tgt)


def finish_reason(translation: Translation) -> str:
    """Returns OpenAI's word for how a translation ended."""
    return "stop" if translation.complete else "length"
