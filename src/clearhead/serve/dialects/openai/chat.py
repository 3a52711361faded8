"""``/v1/chat/completions``: a translator answers the last message of a user with its translation."""

from typing import Any

from clearhead.serve.dialects.openai.asked import Streamed
from clearhead.serve.dialects.openai.shape import Answering, error_tree
from clearhead.serve.dialects.openai.translations import check_fields, translated_until, translation_events
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Asked, stream_response
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.site import Site
from clearhead.serve.translating import Grown

MOST_MESSAGES = 1000
UNSUPPORTED = ("tools", "functions", "audio")
"""Fields that would change what is answered, and do not; besides those of all translations."""


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
        if served.kind != "translator":
            raise RequestError(
                400,
                f"model {served.name!r} was trained on no conversations; ask /v1/completions",
                param="model",
                code="unsupported",
            )
        _check(asked.fields)
        source, ignored = _source(asked.fields)
        if ignored:
            asked.headers["X-Clearhead-Ignored-Messages"] = str(ignored)
        if "max_completion_tokens" in asked.fields:
            asked.fields.tree = {**asked.fields.tree, "max_tokens": asked.fields.tree["max_completion_tokens"]}
        streamed = Streamed.of(asked.fields)
        kind = "chat.completion.chunk" if streamed.on else "chat.completion"
        answering = Answering.of(self.site, "chatcmpl", kind, served.name)
        if streamed.on:
            own: Any = {"usage": streamed.usage}
            return await stream_response(
                translation_events(asked, served, [source], answering, _parts, **own), error_tree
            )
        found = await translated_until(asked, served, [source], answering)
        return answering.whole(
            [
                {
                    "index": place,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": reason,
                }
                for place, (text, reason) in enumerate(found)
            ]
        )


def _parts(grown: Grown, first: bool, reason: str | None) -> list[dict[str, Any]]:
    """Returns parts of a choice in a stream."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)] if first else []
    deltas += [({"content": grown.text}, None)] if grown.text else []
    deltas += [({}, reason)] if reason else []
    return [{"index": grown.place, "delta": delta, "logprobs": None, "finish_reason": end} for delta, end in deltas]


def _check(fields: Fields) -> None:
    """Refuses what a translator cannot do."""
    check_fields(fields, *UNSUPPORTED)
    shape = fields.tree.get("response_format")
    if shape is not None and (not isinstance(shape, dict) or shape.get("type") != "text"):
        fields.refuse("response_format", "a translator answers in plain text")


def _source(fields: Fields) -> tuple[str, int]:
    """Returns the text of the user's last message, and how many other messages there are."""
    messages = fields.tree.get("messages")
    if not isinstance(messages, list) or not messages or len(messages) > MOST_MESSAGES:
        fields.refuse("messages", f"must be a list of 1 to {MOST_MESSAGES} messages")
    if not all(isinstance(each, dict) for each in messages):
        fields.refuse("messages", "each must be an object")
    for message in reversed(messages):
        if message.get("role") == "user":
            return _text(message.get("content")), len(messages) - 1
    fields.refuse("messages", "one must have the role user")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise RequestError(400, "messages: content must be a string or a list of parts", param="messages")
    for part in content:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise RequestError(400, "messages: the model reads only parts of type text", param="messages")
    return "".join(part["text"] for part in content)
