"""The two languages of the site, and the words around its pages."""

import functools
import tomllib
from pathlib import Path
from typing import Any, get_args

from clearhead.messages import Language

LANGUAGES: tuple[Language, ...] = get_args(Language)
ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/clearhead/clearhead"


@functools.cache
def _words() -> dict[str, dict[str, Any]]:
    return tomllib.loads((Path(__file__).with_name("words.toml")).read_text(encoding="utf-8"))


def words(language: Language, table: str = "page") -> dict[str, str]:
    """Returns the words of a table in a language: ``page``, ``nav`` or ``api``."""
    of_language: dict[str, str] = _words()[language][table]
    return of_language
