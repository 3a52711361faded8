"""The ASGI application of a server: routes of the dialects, health, counts, the page."""

import functools
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clearhead.serve.dialects.deepl.routes import deepl_routes
from clearhead.serve.dialects.deepl.shape import DEEPL
from clearhead.serve.dialects.libretranslate.routes import libretranslate_routes
from clearhead.serve.dialects.libretranslate.shape import LIBRETRANSLATE
from clearhead.serve.dialects.openai.routes import openai_routes
from clearhead.serve.dialects.openai.shape import OPENAI
from clearhead.serve.health import health_routes
from clearhead.serve.http.endpoint import json_response
from clearhead.serve.http.guard import Guard
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.native.routes import native_routes
from clearhead.serve.page.routes import page_routes
from clearhead.serve.site import Site

SHAPES = {"/v1/": OPENAI, "/v2/": DEEPL}
"""By the beginning of a path; others are answered as LibreTranslate would."""
DIALECTS = {"openai": openai_routes, "libretranslate": libretranslate_routes, "deepl": deepl_routes}


def routes_of(site: Site) -> list[BaseRoute]:
    """Returns all routes."""
    routes: list[BaseRoute] = [*health_routes(site)]
    for dialect in site.settings.dialects:
        routes += DIALECTS[dialect](site)
    if site.settings.page:
        routes += [*native_routes(site), *page_routes()]
    return routes


def application(site: Site) -> ASGIApp:
    """Returns the application."""
    routes = routes_of(site)
    handlers: Any = {HTTPException: functools.partial(_plain_error, routes)}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # ``tidy`` knows

    paths = {route.endpoint: route.path for route in routes if isinstance(route, Route)}

    def count(scope: Scope, status: int, seconds: float) -> None:
        path = paths.get(scope["endpoint"], "other") if "endpoint" in scope else "other"
        site.metrics.requests.add(scope.get("dialect", "none"), path, str(status))
        site.metrics.seconds.see(seconds)

    return Guard(Direct(app, routes), site.settings, count)


class Direct:
    """Answers requests for paths without parameters at once.

    Starlette tries all routes in turn, and wraps what answers thrice, for exceptions that ours do not raise.

    Args:
        app: that answers all others.
        routes: of it.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self._endpoints: dict[tuple[str, str], Any] = {}
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path:
                for method in route.methods or ():
                    self._endpoints.setdefault((method, route.path), route.endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        scope["endpoint"] = endpoint
        response: Response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


async def _plain_error(routes: Sequence[BaseRoute], request: Request, error: Exception) -> Response:
    """Answers a wrong path or method in the shape of the dialect that the path is of."""
    assert isinstance(error, HTTPException)
    headers, path = dict(error.headers or {}), request.url.path
    if error.status_code == 405:  # of which Starlette names the methods of one route alone
        same = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
        headers["Allow"] = ", ".join(sorted({method for route in same for method in route.methods or ()}))
    reason = RequestError(error.status_code, f"{request.method} {path[:100]}: {error.detail}")
    shape = SHAPES.get(path[:4], LIBRETRANSLATE)
    return json_response(shape.error(reason), status=error.status_code, headers=headers)
