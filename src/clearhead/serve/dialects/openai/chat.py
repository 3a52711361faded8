"""``/v1/chat/completions``: a translator answers the last message of a user with its translation."""

from collections.abc import AsyncIterator
from typing import Any

from clearhead.serve.dialects.openai.asked import Streamed
from clearhead.serve.dialects.openai.shape import error_tree, head, usage
from clearhead.serve.http.endpoint import Asked, event, stream_response
from clearhead.serve.http.request_error import RequestError, error_of
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.serve.translating import finish_reason, translated

MOST_MESSAGES = 1000


class Chat:
    """The handler.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    async def answer(self, asked: Asked) -> Any:
        """Answers a request."""
        served = self.site.models.get(asked.fields.text("model"))
        if served.kind != "translation":
            raise RequestError(
                400,
                f"model {served.name!r} was trained on no conversations; ask /v1/completions",
                param="model",
                code="unsupported",
            )
        source, ignored = _source(asked)
        if ignored:
            asked.headers["X-Clearhead-Ignored-Messages"] = str(ignored)
        if "max_completion_tokens" in asked.fields:
            asked.fields.tree = {**asked.fields.tree, "max_tokens": asked.fields.tree["max_completion_tokens"]}
        streamed = Streamed.of(asked.fields)
        (ranked,) = await translated(asked, served, [source])
        read, count = len(ranked[0].source_pieces), sum(len(each.pieces) for each in ranked)
        self.site.metrics.tokens.add("prompt", by=read)
        self.site.metrics.tokens.add("completion", by=count)
        if streamed.on:
            return stream_response(_stream(served, ranked, usage(read, count) if streamed.usage else None))
        choices = [
            {
                "index": place,
                "message": {"role": "assistant", "content": each.text, "refusal": None},
                "logprobs": None,
                "finish_reason": finish_reason(each),
            }
            for place, each in enumerate(ranked)
        ]
        return {
            **head("chatcmpl", "chat.completion", served.name),
            "choices": choices,
            "usage": usage(read, count),
        }


async def _stream(served: Served, ranked: list[Any], counts: Any) -> AsyncIterator[str]:
    first = head("chatcmpl", "chat.completion.chunk", served.name)
    try:
        for place, each in enumerate(ranked):
            deltas = [({"role": "assistant", "content": ""}, None), ({"content": each.text}, None)]
            for delta, reason in [*deltas, ({}, finish_reason(each))]:
                choice = {"index": place, "delta": delta, "logprobs": None, "finish_reason": reason}
                yield event({**first, "choices": [choice]})
        if counts:
            yield event({**first, "choices": [], "usage": counts})
        yield "data: [DONE]\n\n"
    except Exception as error:
        yield event(error_tree(error_of(error)))


def _source(asked: Asked) -> tuple[str, int]:
    """Returns the text of the user's last message, and how many other messages there are."""
    messages = asked.fields.tree.get("messages")
    if not isinstance(messages, list) or not messages or len(messages) > MOST_MESSAGES:
        asked.fields.refuse("messages", f"must be a list of 1 to {MOST_MESSAGES} messages")
    if not all(isinstance(each, dict) for each in messages):
        asked.fields.refuse("messages", "each must be an object")
    for message in reversed(messages):
        if message.get("role") == "user":
            return _text(asked, message.get("content")), len(messages) - 1
    asked.fields.refuse("messages", "one must have the role user")


def _text(asked: Asked, content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise RequestError(400, "messages: content must be a string or a list of parts", param="messages")
    for part in content:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise RequestError(400, "messages: the model reads only parts of type text", param="messages")
    return "".join(part["text"] for part in content)
