"""Glossaries, each for one key and in memory; they are carried out by phrases that a translation must contain."""

import csv
import datetime
import functools
import io
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from clearhead.serve.dialects.deepl.shape import code_of
from clearhead.serve.dialects.languages import base, targets
from clearhead.serve.http.endpoint import Asked, json_response
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.site import Site

MOST, MOST_ENTRIES, MOST_NAME = 1000, 5000, 1024
MOST_CHARACTERS = 8 << 20
"""Of the entries of all glossaries."""


@dataclass(frozen=True)
class Glossary:
    """Words, and how they are to be translated."""

    id: str
    name: str
    source: str
    target: str
    created: str
    entries: tuple[tuple[str, str], ...]
    owner: int | None = None
    """Whose key it was made with; others do not see it."""

    @functools.cached_property
    def folded(self) -> list[tuple[str, str]]:
        """The entries, with sources that texts are searched for."""
        return [(source.casefold(), target) for source, target in self.entries]

    @property
    def size(self) -> int:
        """Characters of its entries."""
        return sum(len(source) + len(target) for source, target in self.entries)

    @property
    def tree(self) -> dict[str, Any]:
        """Returns it as clients read it."""
        return {
            "glossary_id": self.id,
            "name": self.name,
            "ready": True,
            "source_lang": self.source,
            "target_lang": self.target,
            "creation_time": self.created,
            "entry_count": len(self.entries),
        }

    def required(self, text: str, spaced: bool) -> list[str]:
        """Returns the phrases that the translation of a text must contain."""
        text = text.casefold()
        return list(dict.fromkeys(target for source, target in self.folded if occurs(source, text, spaced)))


def occurs(phrase: str, text: str, spaced: bool) -> bool:
    """Whether a text contains a phrase, as whole words where the language has spaces between them.

    Capitals count; see ``str.casefold``.
    """
    at = text.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        inside = (at and text[at - 1].isalnum()) or (end < len(text) and text[end].isalnum())
        if not (spaced and inside):
            return True
        at = text.find(phrase, end)
    return False


class Glossaries:
    """The handlers, and what they keep.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._kept: dict[str, Glossary] = {}
        self._lock = threading.Lock()

    def get(self, asked: Asked, identity: str) -> Glossary:
        """Returns a glossary of who asks; raises RequestError (404) if there is none."""
        found = self._kept.get(identity)
        if found is None or found.owner != asked.owner:
            raise RequestError(404, f"Glossary not found: {identity[:60]}")
        return found

    async def create(self, asked: Asked) -> Response:
        """``POST /v2/glossaries``."""
        fields = asked.fields
        name = fields.text("name")
        if not name.strip() or len(name) > MOST_NAME:
            fields.refuse("name", f"must have 1 to {MOST_NAME} characters")
        source, target = code_of(fields, "source_lang"), code_of(fields, "target_lang")
        if source is None or target is None:
            raise RequestError(400, "source_lang and target_lang: must be there")
        self._check_pair(source, target)
        kind = fields.choice("entries_format", "tsv", ("tsv", "csv"))
        entries = _entries(fields.text("entries"), kind)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = Glossary(str(uuid.uuid4()), name, source, target, now, entries, asked.owner)
        with self._lock:
            size = made.size + sum(each.size for each in self._kept.values())
            if len(self._kept) >= MOST or size > MOST_CHARACTERS:
                raise RequestError(
                    456, f"Quota exceeded: at most {MOST} glossaries of {MOST_CHARACTERS} characters in all"
                )
            self._kept[made.id] = made
        return json_response(made.tree, status=201)

    async def list(self, asked: Asked) -> Any:
        """``GET /v2/glossaries``."""
        return {"glossaries": [each.tree for each in list(self._kept.values()) if each.owner == asked.owner]}

    async def one(self, asked: Asked) -> Any:
        """``GET /v2/glossaries/{id}``."""
        return self.get(asked, asked.request.path_params["id"]).tree

    async def entries(self, asked: Asked) -> Response:
        """``GET /v2/glossaries/{id}/entries``."""
        entries = self.get(asked, asked.request.path_params["id"]).entries
        text = "\n".join(f"{source}\t{target}" for source, target in entries)
        return Response(text, media_type="text/tab-separated-values")

    async def delete(self, asked: Asked) -> Response:
        """``DELETE /v2/glossaries/{id}``."""
        identity = self.get(asked, asked.request.path_params["id"]).id
        with self._lock:
            self._kept.pop(identity, None)
        return Response(status_code=204)

    async def pairs(self, asked: Asked) -> Any:
        """``GET /v2/glossary-language-pairs``."""
        return {"supported_languages": [{"source_lang": src, "target_lang": tgt} for src, tgt in self._pairs()]}

    def _pairs(self) -> Iterable[tuple[str, str]]:
        sides = [served.now.model.sides for served in self.site.models.of("translator")]
        return dict.fromkeys((base(each.src.code), base(each.tgt.code)) for each in sides)

    def _check_pair(self, source: str, target: str) -> None:
        if (source, target) not in self._pairs():
            known = ", ".join(base(each.code) for each in targets(self.site, source)) or "none"
            raise RequestError(400, f"Unsupported glossary source and target: {source} is translated to {known}")


def _entries(text: str, kind: str) -> tuple[tuple[str, str], ...]:
    """Reads lines of a source, a separator and a target.

    Raises:
        RequestError: there is none, a line is no pair, a source comes twice, or there are too many.
    """
    try:
        rows = (
            [line.split("\t") for line in text.splitlines()]
            if kind == "tsv"
            else list(csv.reader(io.StringIO(text), strict=True))
        )
    except csv.Error as error:
        raise RequestError(400, f"entries: are no CSV: {error}") from None
    entries: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        pair = [cell.strip() for cell in row[:2]]
        if len(row) < 2 or not all(pair):
            raise RequestError(400, f"entries, line {number}: must be a source and a target")
        if pair[0] in entries:
            raise RequestError(400, f"entries, line {number}: the source {pair[0][:40]!r} comes twice")
        entries[pair[0]] = pair[1]
    if not 1 <= len(entries) <= MOST_ENTRIES:
        raise RequestError(400, f"entries: {len(entries)}, must be 1 to {MOST_ENTRIES}")
    return tuple(entries.items())
