"""The routes of DeepL's dialect."""

from typing import Any

from starlette.routing import Route

from clearhead.serve.dialects.deepl.glossaries import Glossaries
from clearhead.serve.dialects.deepl.shape import DEEPL
from clearhead.serve.dialects.deepl.translate import DeepL
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.site import Site

ABSENT = ("/v2/document", "/v2/document/{rest:path}", "/v2/write/{rest:path}", "/v3/{rest:path}")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def deepl_routes(site: Site) -> list[Route]:
    """Returns the routes."""
    of, glossaries = site.endpoints.of, Glossaries(site)
    handlers = DeepL(site, glossaries)

    async def absent(asked: Asked) -> Any:
        raise RequestError(404, f"{asked.request.url.path[:80]}: this server has translations and glossaries alone")

    one = "/v2/glossaries/{id}"
    return [
        Route("/v2/translate", of(DEEPL, handlers.translate), methods=["POST"]),
        Route("/v2/languages", of(DEEPL, handlers.languages), methods=["GET", "POST"]),
        Route("/v2/usage", of(DEEPL, handlers.usage), methods=["GET", "POST"]),
        Route("/v2/glossaries", of(DEEPL, glossaries.create), methods=["POST"]),
        Route("/v2/glossaries", of(DEEPL, glossaries.list, reads=False), methods=["GET"]),
        Route(one, of(DEEPL, glossaries.one, reads=False), methods=["GET"]),
        Route(one, of(DEEPL, glossaries.delete, reads=False), methods=["DELETE"]),
        Route(f"{one}/entries", of(DEEPL, glossaries.entries, reads=False), methods=["GET"]),
        Route("/v2/glossary-language-pairs", of(DEEPL, glossaries.pairs, reads=False), methods=["GET"]),
        *(Route(path, of(DEEPL, absent, reads=False), methods=METHODS) for path in ABSENT),
    ]
