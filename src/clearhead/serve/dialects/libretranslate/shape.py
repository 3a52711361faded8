"""What all of LibreTranslate's routes share: errors, keys, the words of refusals, which its clients compare."""

from typing import Any

from starlette.requests import Request

from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Shape, bearer
from clearhead.serve.http.request_error import RequestError, TooManyPiecesError


def _key(request: Request, fields: Fields) -> str:
    given = fields.tree.get("api_key") or request.query_params.get("api_key") or bearer(request)
    return given if isinstance(given, str) else ""


def _error(error: RequestError) -> Any:
    if isinstance(error, TooManyPiecesError):
        error = too_long(error.size, error.limit)
    return {"error": f"Slowdown: {error.message}" if error.status == 429 else error.message}


def _no_key(key: str) -> RequestError:
    if key:
        return RequestError(403, "Invalid API key")
    return RequestError(400, "Please contact the server operator to get an API key")


LIBRETRANSLATE = Shape("libretranslate", _error, _key, _no_key)


def demand(fields: Fields, *names: str) -> None:
    """Refuses a request that leaves out one of its fields, or leaves it empty."""
    for name in names:
        if fields.tree.get(name) in (None, "", []):
            raise RequestError(400, f"Invalid request: missing {name} parameter", param=name)


def too_long(size: int, limit: int) -> RequestError:
    """Returns the refusal of too much text."""
    return RequestError(400, f"Invalid request: request ({size}) exceeds text limit ({limit})")


def unsupported(code: str) -> RequestError:
    """Returns the refusal of a language."""
    return RequestError(400, f"{code[:20]} is not supported")
