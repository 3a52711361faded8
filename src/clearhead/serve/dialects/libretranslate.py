"""The dialect of LibreTranslate: translate, detect, languages, settings of its page, files where they are on."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from clearhead.serve.dialects.languages import base, detect, name_of, sources, targets, translator_for
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Asked, Shape, bearer
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.serve.translating import translated

MOST_TEXTS, MOST_ALTERNATIVES = 64, 8


def _key(request: Request, fields: Fields) -> str:
    given = fields.tree.get("api_key") or request.query_params.get("api_key") or bearer(request)
    return given if isinstance(given, str) else ""


def _error(error: RequestError) -> Any:
    return {"error": f"Slowdown: {error.message}" if error.status == 429 else error.message}


LIBRETRANSLATE = Shape("libretranslate", _error, _key, RequestError(403, "Invalid API key"))


class LibreTranslate:
    """The handlers.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    async def translate(self, asked: Asked) -> Any:
        """``POST /translate``."""
        fields = asked.fields
        self._demand(fields, "q", "source", "target")
        several = isinstance(fields.tree["q"], list)
        texts = [text.replace("\r\n", "\n") for text in fields.texts("q", most=MOST_TEXTS)]
        source, target = fields.text("source"), fields.text("target")
        if fields.choice("format", "text", ("text", "html")) == "html":
            raise RequestError(400, "format html is not supported: send plain text")
        count = fields.whole("alternatives", 0, 0, MOST_ALTERNATIVES)
        found = []
        for served, group in self._groups(source, target, texts):
            own = [texts[number] for number in group]
            found += zip(group, await translated(asked, served, own, n_best=count + 1), strict=True)
        ranked = [each for _, each in sorted(found, key=lambda pair: pair[0])]
        answer: dict[str, Any] = {"translatedText": [each[0].text for each in ranked]}
        if source == "auto":
            guesses = [detect(self.site, text)[0] for text in texts]
            answer["detectedLanguage"] = [{"confidence": guess.confidence, "language": guess.code} for guess in guesses]
        if count:
            answer["alternatives"] = [[other.text for other in each[1:]] for each in ranked]
        return answer if several else {name: values[0] for name, values in answer.items()}

    def _groups(self, source: str, target: str, texts: list[str]) -> list[tuple[Served, list[int]]]:
        """Returns which translator takes which of the texts."""
        codes = [base(language.code) for language in sources(self.site)]
        if source != "auto" and base(source) not in codes:
            raise RequestError(400, f"{source[:20]} is not supported")
        if base(target) not in [base(language.code) for language in targets(self.site)]:
            raise RequestError(400, f"{target[:20]} is not supported")
        groups: dict[str, tuple[Served, list[int]]] = {}
        for number, text in enumerate(texts):
            served = translator_for(self.site, None if source == "auto" else source, target, text)
            if served is None:
                raise RequestError(400, f"{source[:20]} to {target[:20]} is not supported")
            groups.setdefault(served.name, (served, []))[1].append(number)
        return list(groups.values())

    def _demand(self, fields: Fields, *names: str) -> None:
        for name in names:
            if fields.tree.get(name) in (None, ""):
                if name == "q" and fields.tree.get(name) == "":
                    continue
                raise RequestError(400, f"Invalid request: missing {name} parameter")

    async def detect(self, asked: Asked) -> Any:
        """``POST /detect``."""
        self._demand(asked.fields, "q")
        guesses = detect(self.site, asked.fields.text("q"))
        return [{"confidence": guess.confidence, "language": guess.code} for guess in guesses]

    async def languages(self, asked: Asked) -> Any:
        """``GET /languages``."""
        trees = []
        for language in sources(self.site):
            code = base(language.code)
            written = [base(each.code) for each in targets(self.site, code)]
            trees.append({"code": code, "name": name_of(code), "targets": written})
        return trees

    async def settings(self, asked: Asked) -> Any:
        """``GET /frontend/settings``."""
        read, written = sources(self.site), targets(self.site)
        pair = {
            side: {"code": base(each[0].code), "name": name_of(each[0].code)} if each else {"code": "", "name": ""}
            for side, each in (("source", read), ("target", written))
        }
        return {
            "charLimit": self.site.settings.max_body,
            "frontendTimeout": 500,
            "apiKeys": bool(self.site.keys),
            "keyRequired": bool(self.site.keys),
            "suggestions": False,
            "filesTranslation": False,
            "supportedFilesFormat": [],
            "language": pair,
        }

    async def suggest(self, asked: Asked) -> Any:
        """``POST /suggest``."""
        raise RequestError(403, "Suggestions are disabled on this server.")

    async def file(self, asked: Asked) -> Any:
        """``POST /translate_file``."""
        raise RequestError(403, "Files translation are disabled on this server.")


def libretranslate_routes(site: Site) -> list[Route]:
    """Returns the routes."""
    handlers, of = LibreTranslate(site), site.endpoints.of
    return [
        Route("/translate", of(LIBRETRANSLATE, handlers.translate), methods=["POST"]),
        Route("/detect", of(LIBRETRANSLATE, handlers.detect), methods=["POST"]),
        Route("/languages", of(LIBRETRANSLATE, handlers.languages, reads=False, free=True), methods=["GET"]),
        Route("/frontend/settings", of(LIBRETRANSLATE, handlers.settings, reads=False, free=True), methods=["GET"]),
        Route("/suggest", of(LIBRETRANSLATE, handlers.suggest), methods=["POST"]),
        Route("/translate_file", of(LIBRETRANSLATE, handlers.file, reads=False), methods=["POST"]),
    ]
