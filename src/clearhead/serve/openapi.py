"""What the interface is, as OpenAPI 3.1: written by hand, and held to the routes by a test."""

import copy
from collections.abc import Sequence
from typing import Any

from clearhead.version import VERSION

TEXT, NUMBER, WHOLE, FLAG = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
TEXTS: dict[str, Any] = {"oneOf": [TEXT, {"type": "array", "items": TEXT}]}
OBJECT: dict[str, Any] = {"type": "object"}
FILE: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def _body(required: Sequence[str], fields: dict[str, Any], kinds: Sequence[str] = (JSON,)) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}


def _route(
    summary: str, body: dict[str, Any] | None = None, *, ok: str = "200", kind: str = JSON, stream: bool = False
) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {"schema": OBJECT if kind == JSON else TEXT}}
    if stream:
        content["text/event-stream"] = {"schema": TEXT}
    answer = {"description": "the answer", "content": content} if ok != "204" else {"description": "done"}
    tree: dict[str, Any] = {"summary": summary, "responses": {ok: answer, "default": {"description": "an error"}}}
    return {**tree, "requestBody": body} if body else tree


COMMON = {
    "/health": {"get": _route("Whether the server answers.")},
    "/v1/health": {"get": _route("The same.")},
    "/ready": {"get": _route("Whether all models are loaded, and which checkpoints they are.")},
    "/metrics": {"get": _route("Counts, in the text format of Prometheus.", kind="text/plain")},
    "/openapi.json": {"get": _route("This, as a file.")},
    "/docs": {"get": _route("This, as a page.", kind="text/html")},
}
DRAWN: dict[str, Any] = {
    "temperature": NUMBER, "top_p": NUMBER, "top_k": WHOLE, "min_p": NUMBER, "typical_p": NUMBER, "seed": WHOLE,
    "repetition_penalty": NUMBER, "presence_penalty": NUMBER, "frequency_penalty": NUMBER, "no_repeat_ngram": WHOLE,
}  # fmt: skip
SEARCHED: dict[str, Any] = {"max_tokens": WHOLE, "n": WHOLE, "beam": WHOLE, "length_penalty": NUMBER}
STREAMED: dict[str, Any] = {"stream": FLAG, "stream_options": OBJECT}
WRITTEN = {
    "model": TEXT, "prompt": TEXTS, "stop": TEXTS, "logprobs": WHOLE, "echo": FLAG, "bad_words": TEXTS,
    "logit_bias": OBJECT, **SEARCHED, **STREAMED, **DRAWN,
}  # fmt: skip
TALKED = {
    "model": TEXT, "messages": {"type": "array", "items": OBJECT}, "max_completion_tokens": WHOLE, **SEARCHED,
    **STREAMED,
}  # fmt: skip
OPENAI = {
    "/v1/models": {"get": _route("The models.")},
    "/v1/models/{model}": {"get": _route("One of them.")},
    "/v1/completions": {
        "post": _route("Texts that follow prompts, or their translations.", _body(["model"], WRITTEN), stream=True)
    },
    "/v1/chat/completions": {
        "post": _route("The translation of the user's last message.", _body(["model", "messages"], TALKED), stream=True)
    },
    "/v1/embeddings": {
        "post": _route(
            "Vectors of texts.", _body(["model", "input"], {"model": TEXT, "input": TEXTS, "encoding_format": TEXT})
        )
    },
}
PAIR = {"source": TEXT, "target": TEXT, "api_key": TEXT}
NEEDED = ["source", "target"]
LIBRETRANSLATE = {
    "/translate": {
        "post": _route(
            "Translations.",
            _body(["q", *NEEDED], {"q": TEXTS, **PAIR, "format": TEXT, "alternatives": WHOLE}, (JSON, FORM)),
        )
    },
    "/detect": {
        "post": _route("In which language a text is.", _body(["q"], {"q": TEXT, "api_key": TEXT}, (JSON, FORM)))
    },
    "/languages": {"get": _route("Which languages are translated.")},
    "/frontend/settings": {"get": _route("What a page needs to know.")},
    "/spec": {"get": _route("This, as a file.")},
    "/suggest": {"post": _route("Suggestions, which are not taken here.")},
    "/translate_file": {
        "post": _route(
            "The translation of a file, where that is on.",
            _body(["file", *NEEDED], {"file": FILE, **PAIR}, ("multipart/form-data",)),
        )
    },
    "/download_file/{name}": {"get": _route("What became of a file.", kind="application/octet-stream")},
}
GLOSSARY = {"name": TEXT, "source_lang": TEXT, "target_lang": TEXT, "entries": TEXT, "entries_format": TEXT}
TRANSLATED = {
    "text": TEXTS, "target_lang": TEXT, "source_lang": TEXT, "split_sentences": TEXT, "glossary_id": TEXT,
    "context": TEXT, "tag_handling": TEXT, "outline_detection": TEXT,
    **dict.fromkeys(("ignore_tags", "splitting_tags", "non_splitting_tags"), TEXTS),
}  # fmt: skip
DEEPL = {
    "/v2/translate": {"post": _route("Translations.", _body(["text", "target_lang"], TRANSLATED, (JSON, FORM)))},
    "/v2/languages": {"get": _route("Which languages are translated."), "post": _route("The same.")},
    "/v2/usage": {"get": _route("How many characters were translated."), "post": _route("The same.")},
    "/v2/glossaries": {
        "get": _route("The glossaries."),
        "post": _route("A new glossary.", _body(list(GLOSSARY)[:4], GLOSSARY, (JSON, FORM)), ok="201"),
    },
    "/v2/glossaries/{id}": {"get": _route("One of them."), "delete": _route("Deletes it.", ok="204")},
    "/v2/glossaries/{id}/entries": {"get": _route("Its entries, as text.", kind="text/tab-separated-values")},
    "/v2/glossary-language-pairs": {"get": _route("For which pairs of languages there can be glossaries.")},
}
LOOKED: dict[str, Any] = {"model": TEXT, "text": TEXT}
ASKED: dict[str, Any] = {"beam": WHOLE, "n_best": WHOLE, "length_penalty": NUMBER, "require": TEXTS, "avoid": TEXTS}
PAIRS: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}}
BY_SOURCE = {"glossary": PAIRS, "avoid_where": PAIRS}
IDS: dict[str, Any] = {"type": "array", "items": WHOLE}
NATIVE = {
    "/api/info": {"get": _route("The models, and what can be asked of them."), "post": _route("The same.")},
    "/api/translate": {
        "post": _route(
            "Translations in parts with their words.",
            _body(["text"], {**LOOKED, **ASKED, "prefix": TEXT, "context": TEXT, "alignment": FLAG, **BY_SOURCE}),
        )
    },
    "/api/alternatives": {
        "post": _route(
            "Translations that differ behind a prefix.",
            _body(["text"], {**LOOKED, "prefix": TEXT, "context": TEXT, "count": WHOLE, "beam": WHOLE}),
        )
    },
    "/api/generate": {
        "post": _route(
            "A text, piece by piece, with what could have come.",
            _body([], {"model": TEXT, "prompt": TEXT, "pieces": IDS, "max_new": WHOLE, "top": WHOLE, **DRAWN}),
            kind="text/event-stream",
        )
    },
    "/api/fill": {"post": _route("Pieces for the gaps of a text.", _body(["text"], {**LOOKED, "top_k": WHOLE}))},
    "/api/embed": {
        "post": _route("Vectors of texts, and their cosines.", _body(["texts"], {"model": TEXT, "texts": TEXTS}))
    },
    "/api/classify": {"post": _route("The class of a text or a pair.", _body(["text"], {**LOOKED, "pair": TEXT}))},
    "/api/tokenize": {"post": _route("The pieces of a text.", _body(["text"], {**LOOKED, "side": TEXT}))},
    "/api/attention": {
        "post": _route(
            "The attention of all heads.",
            _body(["text"], {**LOOKED, "layer": WHOLE, "head": WHOLE, "side": TEXT, "worth": FLAG}),
        )
    },
    "/api/trace": {"post": _route("Greedy decoding, step by step.", _body(["text"], LOOKED))},
    "/api/beam": {"post": _route("The tree of a search.", _body(["text"], {**LOOKED, "beam": WHOLE}))},
}
PATHS = {"openai": OPENAI, "libretranslate": LIBRETRANSLATE, "deepl": DEEPL, "native": NATIVE}


def openapi(dialects: Sequence[str]) -> dict[str, Any]:
    """Returns the description of a server that speaks some dialects."""
    paths: dict[str, Any] = copy.deepcopy(COMMON)
    for dialect in dialects:
        paths |= copy.deepcopy(PATHS[dialect])
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
