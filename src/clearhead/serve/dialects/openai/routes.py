"""The routes of OpenAI's dialect."""

from typing import Any

from starlette.routing import Route

from clearhead.serve.dialects.openai.chat import Chat
from clearhead.serve.dialects.openai.completions import Completions
from clearhead.serve.dialects.openai.embeddings import Embeddings
from clearhead.serve.dialects.openai.shape import OPENAI
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.models import Served
from clearhead.serve.site import Site


def openai_routes(site: Site) -> list[Route]:
    """Returns the routes."""
    endpoints = site.endpoints

    async def models(asked: Asked) -> Any:
        return {"object": "list", "data": [_model(served) for served in site.models]}

    async def model(asked: Asked) -> Any:
        served = site.models.get(asked.request.path_params["model"])
        asked.headers["X-Clearhead-Checkpoint"] = served.now.label
        return _model(served)

    return [
        Route("/v1/models", endpoints.of(OPENAI, models, reads=False), methods=["GET"]),
        Route("/v1/models/{model:path}", endpoints.of(OPENAI, model, reads=False), methods=["GET"]),
        Route("/v1/completions", endpoints.of(OPENAI, Completions(site).answer), methods=["POST"]),
        Route("/v1/chat/completions", endpoints.of(OPENAI, Chat(site).answer), methods=["POST"]),
        Route("/v1/embeddings", endpoints.of(OPENAI, Embeddings(site).answer), methods=["POST"]),
    ]


def _model(served: Served) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": served.now.created, "owned_by": "clearhead"}
