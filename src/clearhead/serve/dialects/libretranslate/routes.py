"""The routes of LibreTranslate's dialect."""

from typing import Any

from starlette.routing import Route

from clearhead.serve.dialects.libretranslate.files import Files, read_upload
from clearhead.serve.dialects.libretranslate.shape import LIBRETRANSLATE
from clearhead.serve.dialects.libretranslate.translate import LibreTranslate
from clearhead.serve.dialects.libretranslate.translators import Translators
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.openapi import openapi
from clearhead.serve.site import Site


def libretranslate_routes(site: Site) -> list[Route]:
    """Returns the routes."""
    translators, of = Translators(site), site.endpoints.of
    handlers, files = LibreTranslate(translators), Files(translators)

    async def specification(asked: Asked) -> Any:
        return openapi(site.settings.spoken)

    upload = of(LIBRETRANSLATE, files.translate, reads=files.is_on, reader=read_upload)
    return [
        Route("/translate", of(LIBRETRANSLATE, handlers.translate), methods=["POST"]),
        Route("/detect", of(LIBRETRANSLATE, handlers.detect), methods=["POST"]),
        Route("/languages", of(LIBRETRANSLATE, handlers.languages, reads=False, free=True), methods=["GET"]),
        Route("/frontend/settings", of(LIBRETRANSLATE, handlers.settings, reads=False, free=True), methods=["GET"]),
        Route("/spec", of(LIBRETRANSLATE, specification, reads=False, free=True), methods=["GET"]),
        Route("/suggest", of(LIBRETRANSLATE, handlers.suggest), methods=["POST"]),
        Route("/translate_file", upload, methods=["POST"]),
        Route("/download_file/{name}", of(LIBRETRANSLATE, files.download, reads=False, free=True), methods=["GET"]),
    ]
