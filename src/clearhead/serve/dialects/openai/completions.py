"""``/v1/completions``: texts after prompts, at once or as a stream; translations, where the model is a translator."""

import functools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from clearhead.serve.dialects.openai.asked import Streamed, prompts_of, wanted_of
from clearhead.serve.dialects.openai.logprobs import LogProbs, read_pieces
from clearhead.serve.dialects.openai.shape import Answering, error_tree
from clearhead.serve.dialects.openai.translations import check_fields, translated_until, translation_events
from clearhead.serve.http.endpoint import PING, Asked, event, stream_response
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.serve.translating import Grown
from clearhead.serve.work.service import Ended
from clearhead.serve.writing import Wanted, Wrote, gathered, is_stepped, written

NOT_FOR_TRANSLATORS = ("echo", "suffix")
"""Fields that would change what a translator answers, and do not; besides those of all translations."""


@dataclass
class _Writing:
    """The answer of a language model.

    It has what is wanted, each text's part of the prompt that is repeated, what tells log-probabilities, and the pieces
    of these prompts where they are told of them too.
    """

    answering: Answering
    wanted: Wanted
    begins: list[str]
    probabilities: LogProbs | None
    read: Sequence[list[Wrote]]

    def choice(self, place: int, text: str, pieces: Sequence[Wrote], offset: int, reason: str | None) -> dict[str, Any]:
        """Returns a choice, or a part of one, whose text begins at ``offset``."""
        logprobs = self.probabilities.tree(pieces, offset) if self.probabilities and pieces else None
        return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": reason}

    @property
    def echoed(self) -> list[dict[str, Any]]:
        """The parts of choices that are repeated prompts."""
        each = enumerate(zip(self.begins, self.read, strict=True))
        return [self.choice(place, begin, read, self.begun(place), None) for place, (begin, read) in each if begin]

    def begun(self, place: int) -> int:
        """Returns where the first piece that is told of a text begins in it: what was cut off a prompt has none."""
        return max(0, len(self.begins[place]) - sum(len(piece.text) for piece in self.read[place]))

    def told(self, each: Wrote | Ended, offsets: list[int]) -> dict[str, Any]:
        """Returns the part of a choice that an event of its text is; ``offsets`` say how long each text is so far."""
        if isinstance(each, Ended):
            return self.choice(each.place, "", [], 0, _reason(each.result.reason))
        begin = offsets[each.place]
        offsets[each.place] += len(each.text)
        return self.choice(each.place, each.text, [each] if each.id >= 0 else [], begin, None)


class Completions:
    """The handler.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    async def answer(self, asked: Asked) -> Any:
        """Answers a request."""
        served = self.site.models.get(asked.fields.text("model"))
        asked.headers["X-Clearhead-Checkpoint"] = served.now.label
        match served.kind:
            case "writer":
                return await self._write(asked, served)
            case "translator":
                return await self._translate(asked, served)
        raise RequestError(400, f"model {served.name!r} writes no texts", param="model", code="unsupported")

    async def _write(self, asked: Asked, served: Served) -> Any:
        model, prompts, streamed = served.now.model, prompts_of(asked.fields), Streamed.of(asked.fields)
        wanted = wanted_of(asked, model, prompts)
        if "logprobs" in asked.fields and not is_stepped(wanted):
            asked.fields.refuse("logprobs", "this model, or a search with a beam, tells only whole texts")
        told = LogProbs(model.tokenizer, wanted.top) if "logprobs" in asked.fields else None
        if dropped := sum(each.dropped for each in wanted.encoded):
            asked.headers["X-Clearhead-Dropped"] = str(dropped)
        echo = asked.fields.flag("echo")
        begins = [each.text if echo else "" for each in wanted.encoded for _ in range(wanted.config.n)]
        answering = Answering.of(self.site, "cmpl", "text_completion", served.name)
        answering.read = sum(len(each.ids) for each in wanted.encoded)
        read = await _read(asked, wanted) if echo and told else [[] for _ in begins]
        writing = _Writing(answering, wanted, begins, told, read)
        if streamed.on:
            return await stream_response(self._stream(asked, writing, streamed), error_tree)
        texts, pieces = await gathered(asked, wanted)
        choices = [
            writing.choice(place, begin + text.text, [*read[place], *own], writing.begun(place), _reason(text.reason))
            for place, (begin, text, own) in enumerate(zip(begins, texts, pieces, strict=True))
        ]
        answering.written = sum(len(text.ids) for text in texts)
        return answering.whole(choices)

    async def _stream(self, asked: Asked, writing: _Writing, streamed: Streamed) -> AsyncIterator[str]:
        answering, first = writing.answering, True
        offsets = [len(begin) for begin in writing.begins]
        async for events in written(asked, writing.wanted):
            if not events:
                yield PING
            elif first:
                first = False
                self.site.metrics.first.see(time.perf_counter() - asked.began)
                for choice in writing.echoed:
                    yield event(answering.part(choice))
            for each in events:
                choice = writing.told(each, offsets)
                answering.written += len(each.result.ids) if isinstance(each, Ended) else 0
                if choice["text"] or choice["logprobs"] or choice["finish_reason"]:
                    yield event(answering.part(choice))
        for end in answering.end(usage=streamed.usage):
            yield end

    async def _translate(self, asked: Asked, served: Served) -> Any:
        fields, prompts, streamed = asked.fields, prompts_of(asked.fields), Streamed.of(asked.fields)
        if not all(isinstance(prompt, str) for prompt in prompts):
            fields.refuse("prompt", "must be texts: the model is a translator")
        check_fields(fields, *NOT_FOR_TRANSLATORS)
        answering = Answering.of(self.site, "cmpl", "text_completion", served.name)

        texts = [str(prompt) for prompt in prompts]
        if streamed.on:
            events = translation_events(asked, served, texts, answering, _parts, usage=streamed.usage)
            return await stream_response(events, error_tree)
        found = await translated_until(asked, served, texts, answering)
        return answering.whole([_choice(place, text, reason) for place, (text, reason) in enumerate(found)])


async def _read(asked: Asked, wanted: Wanted) -> list[list[Wrote]]:
    """Returns the pieces of the prompt of each text, with what the model made of them."""
    asked.check_size(wanted.size)
    read = []
    for prompt in wanted.encoded:
        reading = functools.partial(read_pieces, wanted.model, prompt, wanted.top)
        pieces = await asked.call_on_lane(reading, wanted.model)
        read += [pieces] * wanted.config.n
    return read


def _choice(place: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": place, "text": text, "logprobs": None, "finish_reason": reason}


def _parts(grown: Grown, first: bool, reason: str | None) -> list[dict[str, Any]]:
    return [_choice(grown.place, grown.text, reason)]


def _reason(reason: str) -> str:
    return "length" if reason == "length" else "stop"
