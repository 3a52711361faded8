"""The routes of the page."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead.serve.page.files import page_files

HEADERS = {"Cache-Control": "no-cache"}


def page_routes() -> list[Route]:
    """Returns the routes, which need no key: the page asks for it."""

    def of(content: bytes, kind: str) -> Any:
        async def answer(request: Request) -> Response:
            return Response(content, headers={**HEADERS, "Content-Type": kind})

        return answer

    return [Route(path, of(*file), methods=["GET"]) for path, file in page_files().items()]
