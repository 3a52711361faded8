"""What all of OpenAI's routes share: errors, keys, ids, counts of pieces."""

import secrets
import time
from typing import Any

from clearhead.serve.http.endpoint import Shape, bearer
from clearhead.serve.http.request_error import RequestError

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_tree(error: RequestError) -> Any:
    """Returns an error as OpenAI's clients read it."""
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


OPENAI = Shape(
    "openai",
    error_tree,
    lambda request, fields: bearer(request),
    RequestError(401, "Incorrect API key provided", code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"}),
)


def head(prefix: str, kind: str, model: str) -> dict[str, Any]:
    """Returns the fields that every answer begins with."""
    return {"id": f"{prefix}-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def usage(read: int, written: int) -> dict[str, int]:
    """Returns the counts of pieces."""
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
