"""``/translate``, ``/detect``, ``/languages``, and what a page asks about."""

from typing import Any

from clearhead.documents.markup import markup_document
from clearhead.serve.dialects.languages import base, detect, name_of, sources, targets
from clearhead.serve.dialects.libretranslate.files import KINDS
from clearhead.serve.dialects.libretranslate.shape import demand, too_long
from clearhead.serve.dialects.libretranslate.translators import AUTO, Translators
from clearhead.serve.dialects.marked import documents_of
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError

MOST_TEXTS, MOST_ALTERNATIVES = 64, 8
WIDEST = 12
"""Most bytes of a character in a form, and in JSON that escapes it."""


class LibreTranslate:
    """The handlers.

    Args:
        translators: of the site.
    """

    def __init__(self, translators: Translators) -> None:
        self.translators, self.site = translators, translators.site

    async def translate(self, asked: Asked) -> Any:
        """``POST /translate``."""
        fields = asked.fields
        demand(fields, "q", "source", "target")
        several = isinstance(fields.tree["q"], list)
        if several and len(fields.tree["q"]) > MOST_TEXTS:
            raise too_long(len(fields.tree["q"]), MOST_TEXTS)
        texts = ["\n".join(text.splitlines()) for text in fields.texts("q", most=MOST_TEXTS)]
        pair = source, target = fields.text("source"), fields.text("target")
        count = fields.whole("alternatives", 0, 0, MOST_ALTERNATIVES)
        match fields.text("format", "text"):
            case "text" | "":
                ranked = await self.translators.plain(asked, texts, pair, n_best=count + 1)
            case "html":
                documents = await documents_of(asked, markup_document, texts, param="q")
                ranked = await self.translators.marked(asked, documents, pair, n_best=count + 1)
            case other:
                raise RequestError(400, f"{other[:20]} format is not supported", param="format")
        answer: dict[str, Any] = {"translatedText": [each[0] for each in ranked]}
        if source == AUTO:
            guesses = [detect(self.site, text, target)[0] for text in texts]
            answer["detectedLanguage"] = [{"confidence": guess.confidence, "language": guess.code} for guess in guesses]
        if count:
            answer["alternatives"] = [each[1:] for each in ranked]
        return answer if several else {name: values[0] for name, values in answer.items()}

    async def detect(self, asked: Asked) -> Any:
        """``POST /detect``."""
        demand(asked.fields, "q")
        text = "\n".join(asked.fields.texts("q", most=MOST_TEXTS))
        guesses = detect(self.site, text)
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
        read, written, settings = sources(self.site), targets(self.site), self.site.settings
        pair = {
            side: {"code": base(each[0].code), "name": name_of(each[0].code)} if each else {"code": "", "name": ""}
            for side, each in (("source", read), ("target", written))
        }
        return {
            "charLimit": min(settings.max_pieces, settings.max_body // WIDEST),
            "frontendTimeout": 500,
            "apiKeys": bool(self.site.keys),
            "keyRequired": bool(self.site.keys),
            "suggestions": False,
            "filesTranslation": settings.files,
            "supportedFilesFormat": list(KINDS) if settings.files else [],
            "language": pair,
        }

    async def suggest(self, asked: Asked) -> Any:
        """``POST /suggest``."""
        raise RequestError(403, "Suggestions are disabled on this server.")
