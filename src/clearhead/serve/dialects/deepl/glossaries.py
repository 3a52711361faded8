"""Glossaries, each for one key and in memory; they are carried out by phrases that a translation must contain."""

import datetime
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from starlette.responses import Response

from clearhead.errors import DataError
from clearhead.serve.dialects.deepl.shape import code_of
from clearhead.serve.dialects.languages import base, targets
from clearhead.serve.http.endpoint import Asked, json_response
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.site import Site
from clearhead.text.glossary import glossary
from clearhead.text.glossary.entries import parse_entries

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
    own: glossary.Glossary
    owner: int | None = None
    """Whose key it was made with; others do not see it."""

    @property
    def size(self) -> int:
        """Characters of its entries."""
        return sum(len(entry.source) + len(entry.target) for entry in self.own.entries)

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
            "entry_count": len(self.own.entries),
        }


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
        entries = self.get(asked, asked.request.path_params["id"]).own.entries
        text = "\n".join(f"{entry.source}\t{entry.target}" for entry in entries)
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


def _entries(text: str, kind: str) -> glossary.Glossary:
    """Reads lines of a source, a separator and a target; raises RequestError for what cannot be used."""
    try:
        entries = parse_entries(text, "entries", cast(Literal["tsv", "csv"], kind))
    except DataError as error:
        raise RequestError(400, str(error)) from None
    if len(entries) > MOST_ENTRIES:
        raise RequestError(400, f"entries: {len(entries)}, must be 1 to {MOST_ENTRIES}")
    return glossary.Glossary(entries)
