"""Glossaries: kept in memory, by key; what they say is carried out by phrases that a translation must contain."""

import csv
import datetime
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


@dataclass(frozen=True)
class Glossary:
    """Words, and how they are to be translated."""

    id: str
    name: str
    source: str
    target: str
    created: str
    entries: tuple[tuple[str, str], ...]

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
        return list(dict.fromkeys(target for source, target in self.entries if occurs(source, text, spaced)))


def occurs(phrase: str, text: str, spaced: bool) -> bool:
    """Whether a text contains a phrase, as whole words where the language has spaces between them."""
    text, phrase = text.casefold(), phrase.casefold()
    at = text.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        inside = (at and text[at - 1].isalnum()) or (end < len(text) and text[end].isalnum())
        if not (spaced and inside):
            return True
        at = text.find(phrase, at + 1)
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

    def get(self, identity: str) -> Glossary:
        """Returns a glossary; raises RequestError (404) if there is none."""
        found = self._kept.get(identity)
        if found is None:
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
        made = Glossary(str(uuid.uuid4()), name, source, target, now, entries)
        with self._lock:
            if len(self._kept) >= MOST:
                raise RequestError(456, f"Quota exceeded: {MOST} glossaries")
            self._kept[made.id] = made
        return json_response(made.tree, status=201)

    async def list(self, asked: Asked) -> Any:
        """``GET /v2/glossaries``."""
        return {"glossaries": [glossary.tree for glossary in list(self._kept.values())]}

    async def one(self, asked: Asked) -> Any:
        """``GET /v2/glossaries/{id}``."""
        return self.get(asked.request.path_params["id"]).tree

    async def entries(self, asked: Asked) -> Response:
        """``GET /v2/glossaries/{id}/entries``."""
        entries = self.get(asked.request.path_params["id"]).entries
        text = "\n".join(f"{source}\t{target}" for source, target in entries)
        return Response(text, media_type="text/tab-separated-values")

    async def delete(self, asked: Asked) -> Response:
        """``DELETE /v2/glossaries/{id}``."""
        identity = self.get(asked.request.path_params["id"]).id
        with self._lock:
            self._kept.pop(identity, None)
        return Response(status_code=204)

    async def pairs(self, asked: Asked) -> Any:
        """``GET /v2/glossary-language-pairs``."""
        return {"supported_languages": [{"source_lang": src, "target_lang": tgt} for src, tgt in self._pairs()]}

    def _pairs(self) -> Iterable[tuple[str, str]]:
        sides = [served.now.model.sides for served in self.site.models.of("translation")]
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
    rows = (
        [line.split("\t") for line in text.splitlines()]
        if kind == "tsv"
        else list(csv.reader(io.StringIO(text), strict=True))
    )
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
