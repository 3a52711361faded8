"""What all of DeepL's routes share: errors, keys, codes of languages."""

import re
from typing import Any

from starlette.requests import Request

from clearhead.serve.dialects.languages import base
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Shape, bearer
from clearhead.serve.http.request_error import RequestError

VARIANTS = {"en": ("EN-US", "EN-GB"), "pt": ("PT-BR", "PT-PT"), "zh": ("ZH", "ZH-HANS")}
"""Codes by which clients ask for a target; they refuse the bare EN and PT themselves."""
CODE = re.compile(r"[A-Za-z]{2,3}(-([A-Za-z]{2,4}|\d{3}))?", re.ASCII)


def _key(request: Request, fields: Fields) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "deepl-auth-key":
        return key.strip()
    given = fields.tree.get("auth_key")
    return given if isinstance(given, str) else bearer(request)


def _error(error: RequestError) -> Any:
    return {"message": error.message}


DEEPL = Shape("deepl", _error, _key, lambda key: RequestError(403, "Authorization failure, check auth_key"))


def code_of(fields: Fields, name: str) -> str | None:
    """Reads the code of a language, without script and country; None if there is none."""
    given = fields.text(name, "")
    if not given:
        return None
    if not CODE.fullmatch(given):
        fields.refuse(name, "is no code of a language")
    return base(given)


def word_of(fields: Fields, name: str, default: str, known: tuple[str, ...]) -> str:
    """Reads a word that clients may send as a number or a boolean too."""
    value = fields.tree.get(name)
    value = default if value is None else str(int(value)) if isinstance(value, bool | int) else value
    if value not in known:
        fields.refuse(name, f"must be {', '.join(known)}")
    return str(value)
