"""The routes of the native interface: ``POST /api/NAME`` with the name of a model and the fields of a call."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.routing import Route

from clearhead.errors import DataError, ModelError
from clearhead.serve.health import NATIVE
from clearhead.serve.http.endpoint import Asked, stream_response
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.models import Kind, Served
from clearhead.serve.native.eager import Eager
from clearhead.serve.native.info import info
from clearhead.serve.native.reading import classify, embed, fill, tokenize
from clearhead.serve.native.translation import alternatives, answer, searched, translate
from clearhead.serve.native.writing import generate
from clearhead.serve.site import Site


class Native:
    """The handlers.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        eager = {served.path: Eager(served.path) for served in site.models}
        self._eager = {served.name: eager[served.path] for served in site.models}

    async def info(self, asked: Asked) -> Any:
        """``GET`` and ``POST /api/info``."""
        return info(self.site)

    async def translate(self, asked: Asked) -> Any:
        """``POST /api/translate``."""
        served = self._served(asked, "translator")
        model, size = served.now.model, len(asked.fields.text("text"))
        given: Any = (model, asked.fields, asked.check_size)
        if not asked.fields.flag("alignment"):
            return await asked.carry_out(model, translate(*given), size)
        ranked = await asked.carry_out(model, searched(*given), size)
        return await self._inside(served, asked, lambda run: answer(ranked, run.trained, run.trained))

    async def alternatives(self, asked: Asked) -> Any:
        """``POST /api/alternatives``."""
        served = self._served(asked, "translator")
        return await self._inside(served, asked, lambda run: alternatives(run.trained, asked.fields))

    async def generate(self, asked: Asked) -> Any:
        """``POST /api/generate``, a stream of events."""
        model = self._served(asked, "writer").now.model
        return await stream_response(generate(model, asked), NATIVE.error)

    async def fill(self, asked: Asked) -> Any:
        """``POST /api/fill``."""
        model = self._served(asked, "encoder").now.model
        return await asked.call_on_lane(lambda: fill(model, asked.fields), model)

    async def embed(self, asked: Asked) -> Any:
        """``POST /api/embed``."""
        model = self._served(asked, "encoder").now.model
        return await asked.call_on_lane(lambda: embed(model, asked.fields), model)

    async def classify(self, asked: Asked) -> Any:
        """``POST /api/classify``."""
        model = self._served(asked, "classifier").now.model
        return await asked.call_on_lane(lambda: classify(model, asked.fields), model)

    async def tokenize(self, asked: Asked) -> Any:
        """``POST /api/tokenize``; ``side`` is source or target where there are two."""
        served = self._served(asked)
        side = asked.fields.choice("side", "source", ("source", "target"))
        if served.kind == "translator":
            tokenizers = served.now.model.tokenizers
            tokenizer = tokenizers.src if side == "source" else tokenizers.tgt
        else:
            tokenizer = served.now.model.tokenizer
        return await asked.call(lambda: tokenize(tokenizer, asked.fields))

    def look(self, name: str) -> Callable[[Asked], Any]:
        """``POST /api/attention``, ``/api/trace`` and ``/api/beam``."""

        async def answer(asked: Asked) -> Any:
            def look(run: Any) -> dict[str, Any]:
                from clearhead.serve.native.looking import LOOKS  # with PyTorch, which most servers never need

                return LOOKS[name](run, asked.fields)

            return await self._inside(self._served(asked), asked, look)

        return answer

    async def _inside(self, served: Served, asked: Asked, look: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Looks into a run by PyTorch, whose turn it is on the lane."""
        eager = self._eager[served.name]

        def call() -> dict[str, Any]:
            try:
                run = eager.opened()  # which is there already, but for a better checkpoint
                return look(run if served.way is None else replace(run, trained=served.going(run.trained)))
            except ModelError as error:  # such as of a family that has no such view: it is the request that is wrong
                raise RequestError(400, str(error), code="unavailable") from error

        def opened() -> None:
            with contextlib.suppress(ModelError, DataError):  # which the second call tells
                eager.opened()

        if not eager.is_open:
            await asked.call_on_lane(opened)  # by itself: the lane can end no call that loads PyTorch
        return await asked.call_on_lane(call)

    def _served(self, asked: Asked, *kinds: Kind) -> Served:
        """Returns the model that a request names; the only one of its kind need not be named."""
        fitting = self.site.models.of(*kinds) if kinds else list(self.site.models)
        name = asked.fields.text("model", "")
        served = fitting[0] if not name and len(fitting) == 1 else self.site.models.get(name)
        if served not in fitting:
            raise RequestError(
                400,
                f"model {served.name!r}: is {'an' if served.kind[0] == 'e' else 'a'} {served.kind}",
                param="model",
                code="unsupported",
            )
        asked.headers["X-Clearhead-Checkpoint"] = served.now.label
        return served


def native_routes(site: Site) -> list[Route]:
    """Returns the routes."""
    native, of = Native(site), site.endpoints.of
    handlers = {
        "translate": native.translate,
        "alternatives": native.alternatives,
        "generate": native.generate,
        "fill": native.fill,
        "embed": native.embed,
        "classify": native.classify,
        "tokenize": native.tokenize,
        **{name: native.look(name) for name in ("attention", "trace", "beam")},
    }
    routes = [Route(f"/api/{name}", of(NATIVE, handler), methods=["POST"]) for name, handler in handlers.items()]
    return [Route("/api/info", of(NATIVE, native.info), methods=["GET", "POST"]), *routes]
