"""What all of OpenAI's routes share: errors, keys, what answers begin with, counts of pieces."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clearhead.serve.http.endpoint import Shape, bearer, event
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.site import Site
from clearhead.tasks.translation.result import Translation

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_tree(error: RequestError) -> Any:
    """Returns an error as OpenAI's clients read it."""
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


OPENAI = Shape(
    "openai",
    error_tree,
    lambda request, fields: bearer(request),
    lambda key: RequestError(
        401,
        "Incorrect API key provided" if key else "You didn't provide an API key: Authorization: Bearer KEY",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    ),
)


def head(prefix: str, kind: str, model: str) -> dict[str, Any]:
    """Returns the fields that every answer begins with."""
    return {"id": f"{prefix}-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def usage(read: int, written: int) -> dict[str, int]:
    """Returns the counts of pieces."""
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


@dataclass
class Answering:
    """An answer that is being made, and the pieces that were read and written for it."""

    site: Site
    head: dict[str, Any]
    read: int = 0
    written: int = 0

    @classmethod
    def of(cls, site: Site, prefix: str, kind: str, model: str) -> "Answering":
        """Begins an answer."""
        return cls(site, head(prefix, kind, model))

    def count(self, found: list[list[Translation]]) -> None:
        """Takes the counts of translations."""
        self.read = sum(len(ranked[0].source_pieces) for ranked in found)
        self.written = sum(len(each.pieces) for ranked in found for each in ranked)

    def whole(self, choices: Sequence[Any]) -> dict[str, Any]:
        """Returns the answer."""
        return {**self.head, "choices": choices, "usage": self._usage()}

    def part(self, choice: Any) -> dict[str, Any]:
        """Returns a part of an answer that is a stream."""
        return {**self.head, "choices": [choice]}

    def end(self, *, usage: bool) -> list[str]:
        """Returns the last events of a stream."""
        counts = self._usage()
        last = [event({**self.head, "choices": [], "usage": counts})] if usage else []
        return [*last, "data: [DONE]\n\n"]

    def _usage(self) -> dict[str, int]:
        self.site.metrics.tokens.add("prompt", by=self.read)
        self.site.metrics.tokens.add("completion", by=self.written)
        return usage(self.read, self.written)
