"""Why a request gets no answer: a status, a line, and what the shapes of dialects need besides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from clearhead.errors import ClearheadError, ModelError


@dataclass
class RequestError(Exception):
    """A request that is answered with an error; each dialect has its own shape for it."""

    status: int
    message: str
    param: str | None = None
    """The field of the request that is wrong."""
    code: str | None = None
    """A word for programs."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


class TooManyPiecesError(RequestError):
    """A request whose texts have too many pieces.

    Args:
        size: pieces that they have.
        limit: that they may have.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(400, f"{size} pieces, at most {limit} in a request; see --max-pieces", code="too_many_pieces")
        self.size, self.limit = size, limit


def too_many(message: str) -> RequestError:
    """Returns the refusal of one request too many, which may come again soon."""
    return RequestError(429, message, code="rate_limit_exceeded", headers={"Retry-After": "1"})


def error_of(error: Exception) -> RequestError:
    """Returns what a client is told of an error: all of a wrong argument, nothing of what went wrong inside."""
    match error:
        case RequestError():
            return error
        case ModelError():
            return RequestError(500, "the model could not answer this request", code="model_error")
        case ClearheadError():
            return RequestError(400, str(error))
        case _:
            return RequestError(500, "the server could not answer this request", code="internal_error")
