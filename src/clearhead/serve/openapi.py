"""What the interface is, as OpenAPI 3.1: written by hand, and held to the routes by a test."""

from collections.abc import Sequence
from typing import Any

from clearhead.version import VERSION

TEXT, NUMBER, WHOLE, FLAG = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
TEXTS = {"oneOf": [TEXT, {"type": "array", "items": TEXT}]}
OBJECT = {"type": "object"}


def _body(required: Sequence[str], **fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _route(
    summary: str, body: dict[str, Any] | None = None, *, ok: str = "200", stream: bool = False
) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": OBJECT}}
    if stream:
        content["text/event-stream"] = {"schema": TEXT}
    answer = {"description": "the answer", "content": content}
    tree: dict[str, Any] = {"summary": summary, "responses": {ok: answer, "default": {"description": "an error"}}}
    return {**tree, "requestBody": body} if body else tree


COMMON = {
    "/health": {"get": _route("Whether the server answers.")},
    "/v1/health": {"get": _route("The same.")},
    "/ready": {"get": _route("Whether all models are loaded, and which checkpoints they are.")},
    "/metrics": {"get": _route("Counts, in the text format of Prometheus.")},
    "/openapi.json": {"get": _route("This.")},
}
DRAWN = {
    "temperature": NUMBER, "top_p": NUMBER, "top_k": WHOLE, "min_p": NUMBER, "typical_p": NUMBER, "seed": WHOLE,
    "repetition_penalty": NUMBER, "presence_penalty": NUMBER, "frequency_penalty": NUMBER, "no_repeat_ngram": WHOLE,
}  # fmt: skip
OPENAI = {
    "/v1/models": {"get": _route("The models.")},
    "/v1/models/{model}": {"get": _route("One of them.")},
    "/v1/completions": {
        "post": _route(
            "Texts that follow prompts, or their translations.",
            _body(
                ["model"],
                model=TEXT,
                prompt=TEXTS,
                max_tokens=WHOLE,
                n=WHOLE,
                stream=FLAG,
                stop=TEXTS,
                logprobs=WHOLE,
                echo=FLAG,
                beam=WHOLE,
                bad_words=TEXTS,
                logit_bias=OBJECT,
                **DRAWN,
            ),
            stream=True,
        )
    },
    "/v1/chat/completions": {
        "post": _route(
            "The translation of the user's last message.",
            _body(["model", "messages"], model=TEXT, messages={"type": "array", "items": OBJECT}, stream=FLAG),
            stream=True,
        )
    },
    "/v1/embeddings": {
        "post": _route("Vectors of texts.", _body(["model", "input"], model=TEXT, input=TEXTS, encoding_format=TEXT))
    },
}
LIBRETRANSLATE = {
    "/translate": {
        "post": _route(
            "Translations.",
            _body(["q", "source", "target"], q=TEXTS, source=TEXT, target=TEXT, alternatives=WHOLE, api_key=TEXT),
        )
    },
    "/detect": {"post": _route("In which language a text is.", _body(["q"], q=TEXT))},
    "/languages": {"get": _route("Which languages are translated.")},
    "/frontend/settings": {"get": _route("What a page needs to know.")},
    "/suggest": {"post": _route("Not taken here.")},
    "/translate_file": {"post": _route("The translation of a file, where that is on.")},
}
DEEPL = {
    "/v2/translate": {
        "post": _route(
            "Translations.",
            _body(["text", "target_lang"], text=TEXTS, target_lang=TEXT, source_lang=TEXT, glossary_id=TEXT),
        )
    },
    "/v2/languages": {"get": _route("Which languages are translated."), "post": _route("The same.")},
    "/v2/usage": {"get": _route("How many characters were translated."), "post": _route("The same.")},
    "/v2/glossaries": {
        "get": _route("The glossaries."),
        "post": _route(
            "A new glossary.",
            _body(["name", "source_lang", "target_lang", "entries"], name=TEXT, source_lang=TEXT, target_lang=TEXT,
                  entries=TEXT, entries_format=TEXT),
            ok="201",
        ),
    },
    "/v2/glossaries/{id}": {"get": _route("One of them."), "delete": _route("Deletes it.", ok="204")},
    "/v2/glossaries/{id}/entries": {"get": _route("Its entries, as text.")},
    "/v2/glossary-language-pairs": {"get": _route("For which pairs of languages there can be glossaries.")},
}  # fmt: skip
PATHS = {"openai": OPENAI, "libretranslate": LIBRETRANSLATE, "deepl": DEEPL}


def openapi(dialects: Sequence[str]) -> dict[str, Any]:
    """Returns the description of a server that speaks some dialects."""
    paths: dict[str, Any] = dict(COMMON)
    for dialect in dialects:
        paths |= PATHS[dialect]
    for path, methods in paths.items():
        names = [part.split("}")[0] for part in path.split("{")[1:]]
        for method in methods.values():
            if names:
                method["parameters"] = [{"name": n, "in": "path", "required": True, "schema": TEXT} for n in names]
    return {
        "openapi": "3.1.0",
        "info": {"title": "clearhead", "version": VERSION, "description": "Models of your own, served."},
        "paths": paths,
    }
