"""Routes that say how the server is: health, readiness, counts, and what its interface is."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from clearhead.serve.http.endpoint import Asked, Shape, bearer, json_response
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.metrics import CONTENT_TYPE
from clearhead.serve.openapi import openapi
from clearhead.serve.reference import STYLE, reference
from clearhead.serve.site import Site

NATIVE = Shape(
    "native",
    lambda error: {"error": error.message, "param": error.param, "code": error.code},
    lambda request, fields: bearer(request),
    lambda key: RequestError(
        401,
        "the key is none of this server's" if key else "a key is needed: Authorization: Bearer KEY",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    ),
)


def health_routes(site: Site) -> list[Route]:
    """Returns the routes."""
    of = site.endpoints.of
    site.metrics.watch("clearhead_queue_depth", "Requests that wait.", (), lambda: {(): float(site.service.waiting)})
    site.metrics.watch(
        "clearhead_running_rows", "Rows that are stepped.", (), lambda: {(): float(site.service.engine.running_rows)}
    )
    site.metrics.watch(
        "clearhead_model_info",
        "Models that are served.",
        ("model", "checkpoint"),
        lambda: {(each.name, each.version.label): 1.0 for each in site.models if each.version},
    )

    async def health(asked: Asked) -> Any:
        if site.models.are_ready:
            return {"status": "ok"}
        return json_response({"status": "loading"}, status=503, headers={"Retry-After": "1"})

    async def ready(asked: Asked) -> Any:
        models = {each.name: each.version.label if each.version else None for each in site.models}
        tree = {"models": models, "queue": site.service.waiting}
        return tree if site.models.are_ready else json_response(tree, status=503, headers={"Retry-After": "1"})

    async def metrics(asked: Asked) -> Any:
        return Response(site.metrics.text(), media_type=None, headers={"Content-Type": CONTENT_TYPE})

    async def specification(asked: Asked) -> Any:
        return openapi(site.settings.spoken)

    async def page(asked: Asked) -> Any:
        return Response(reference(openapi(site.settings.spoken)), media_type="text/html")

    async def style(asked: Asked) -> Any:
        return Response(STYLE, media_type="text/css")

    local = site.settings.is_local
    return [
        Route("/health", of(NATIVE, health, reads=False, free=True), methods=["GET"]),
        Route("/v1/health", of(NATIVE, health, reads=False, free=True), methods=["GET"]),
        Route("/ready", of(NATIVE, ready, reads=False, free=True), methods=["GET"]),
        Route("/metrics", of(NATIVE, metrics, reads=False, free=local), methods=["GET"]),
        Route("/openapi.json", of(NATIVE, specification, reads=False, free=True), methods=["GET"]),
        Route("/docs", of(NATIVE, page, reads=False, free=True), methods=["GET"]),
        Route("/docs.css", of(NATIVE, style, reads=False, free=True), methods=["GET"]),
    ]
