"""``/v1/completions``: texts after prompts, at once or as a stream; translations, where the model is a translator."""

from collections.abc import AsyncIterator
from typing import Any

from clearhead.serve.dialects.openai.asked import Streamed, prompts_of, wanted_of
from clearhead.serve.dialects.openai.logprobs import LogProbs
from clearhead.serve.dialects.openai.shape import error_tree, head, usage
from clearhead.serve.http.endpoint import PING, Asked, event, stream_response
from clearhead.serve.http.request_error import RequestError, error_of
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.serve.translating import finish_reason, translated
from clearhead.serve.work.service import Ended
from clearhead.serve.writing import Wanted, Wrote, gathered, prompt_of, written

KIND = "text_completion"


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
            case "language_model":
                return await self._write(asked, served)
            case "translation":
                return await self._translate(asked, served)
        raise RequestError(400, f"model {served.name!r} writes no texts", param="model", code="unsupported")

    async def _write(self, asked: Asked, served: Served) -> Any:
        model, prompts, streamed = served.now.model, prompts_of(asked.fields), Streamed.of(asked.fields)
        wanted, echo = wanted_of(asked, prompts), asked.fields.flag("echo")
        told = LogProbs(model.tokenizer, wanted.top) if asked.fields.tree.get("logprobs") is not None else None
        before = [prompt_of(model, prompt, wanted.config) for prompt in prompts]
        begins = [each.text if echo else "" for each in before for _ in range(wanted.config.n)]
        read = sum(len(each.ids) for each in before)
        if streamed.on:
            return stream_response(self._stream(asked, served, wanted, begins, told, streamed, read))
        texts, pieces = await gathered(asked, model, wanted)
        choices = [
            {
                "index": place,
                "text": begin + text.text,
                "logprobs": told.tree(own, len(begin)) if told else None,
                "finish_reason": _reason(text.reason),
            }
            for place, (begin, text, own) in enumerate(zip(begins, texts, pieces, strict=True))
        ]
        count = sum(len(text.ids) for text in texts)
        self._count(read, count)
        return {**head("cmpl", KIND, served.name), "choices": choices, "usage": usage(read, count)}

    async def _stream(
        self,
        asked: Asked,
        served: Served,
        wanted: Wanted,
        begins: list[str],
        told: LogProbs | None,
        streamed: Streamed,
        read: int,
    ) -> AsyncIterator[str]:
        first, count = head("cmpl", KIND, served.name), 0
        offsets = [len(begin) for begin in begins]

        def chunk(place: int, text: str, logprobs: Any = None, reason: str | None = None) -> str:
            choice = {"index": place, "text": text, "logprobs": logprobs, "finish_reason": reason}
            return event({**first, "choices": [choice]})

        try:
            for place, begin in enumerate(begins):
                if begin:
                    yield chunk(place, begin)
            async for events in written(asked, served.now.model, wanted):
                if not events:
                    yield PING
                for each in events:
                    if isinstance(each, Wrote):
                        logprobs = told.tree([each], offsets[each.place]) if told and each.id >= 0 else None
                        offsets[each.place] += len(each.text)
                        if each.text or logprobs:
                            yield chunk(each.place, each.text, logprobs)
                    elif isinstance(each, Ended):
                        count += len(each.result.ids)
                        yield chunk(each.place, "", None, _reason(each.result.reason))
            self._count(read, count)
            if streamed.usage:
                yield event({**first, "choices": [], "usage": usage(read, count)})
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield event(error_tree(error_of(error)))

    async def _translate(self, asked: Asked, served: Served) -> Any:
        prompts, streamed = prompts_of(asked.fields), Streamed.of(asked.fields)
        if not all(isinstance(prompt, str) for prompt in prompts):
            asked.fields.refuse("prompt", "must be texts: the model is a translator")
        found = await translated(asked, served, [str(prompt) for prompt in prompts])
        choices = [
            {"index": place, "text": each.text, "logprobs": None, "finish_reason": finish_reason(each)}
            for place, each in enumerate(each for ranked in found for each in ranked)
        ]
        read = sum(len(ranked[0].source_pieces) for ranked in found if ranked)
        count = sum(len(each.pieces) for ranked in found for each in ranked)
        self._count(read, count)
        tree = {**head("cmpl", KIND, served.name), "choices": choices}
        if streamed.on:
            last = [event({**tree, "choices": [], "usage": usage(read, count)})] * streamed.usage
            parts = [event({**tree, "choices": [choice]}) for choice in choices]
            return stream_response(_each([*parts, *last, "data: [DONE]\n\n"]))
        return {**tree, "usage": usage(read, count)}

    def _count(self, read: int, count: int) -> None:
        self.site.metrics.tokens.add("prompt", by=read)
        self.site.metrics.tokens.add("completion", by=count)


def _reason(reason: str) -> str:
    return "length" if reason == "length" else "stop"


async def _each(parts: list[str]) -> AsyncIterator[str]:
    for part in parts:
        yield part
