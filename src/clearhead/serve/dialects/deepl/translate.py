"""``/v2/translate``, ``/v2/languages``, ``/v2/usage``."""

import threading
from collections import Counter
from typing import Any

from clearhead.serve.dialects.deepl.glossaries import Glossaries, Glossary
from clearhead.serve.dialects.deepl.shape import VARIANTS, code_of, word_of
from clearhead.serve.dialects.deepl.tags import reader_of
from clearhead.serve.dialects.languages import base, name_of, sources, targets, translator_for
from clearhead.serve.dialects.lines import Lines
from clearhead.serve.dialects.marked import documents_of, filled_in
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.serve.translating import translated
from clearhead.tasks.translation.result import Translation
from clearhead.text.overlong import SplitSource

MOST_TEXTS = 50
NO_LIMIT = 1_000_000_000_000
SPLITS: dict[str, SplitSource] = {"0": "overlong", "1": "sentences", "nonewlines": "sentences"}
UNSUPPORTED = ("style_id", "custom_instructions", "translation_memory_id")
"""Fields that would change a translation, and do not."""


class DeepL:
    """The handlers.

    Args:
        site: with the models.
        glossaries: that requests may name.
    """

    def __init__(self, site: Site, glossaries: Glossaries) -> None:
        self.site, self.glossaries = site, glossaries
        self._characters: Counter[int | None] = Counter()
        """By whose key they were translated."""
        self._lock = threading.Lock()

    async def translate(self, asked: Asked) -> Any:
        """``POST /v2/translate``."""
        fields = asked.fields
        texts = fields.texts("text", most=MOST_TEXTS)
        if not texts:
            fields.refuse("text", f"must be 1 to {MOST_TEXTS} texts")
        characters = [len(text) for text in texts]
        source, target = code_of(fields, "source_lang"), code_of(fields, "target_lang")
        if target is None:
            raise RequestError(400, "Value for 'target_lang' not supported.", param="target_lang")
        _check_options(fields)
        word, read = word_of(fields, "split_sentences", "1", tuple(SPLITS)), reader_of(fields)
        texts = [text.replace("\r\n", "\n") for text in texts]
        if word != "1" and read is None:
            texts = [" ".join(text.split("\n")) for text in texts]
        documents = await documents_of(asked, read, texts, param="text") if read else []
        blocks = [[block.text for block in document.blocks] for document in documents]
        of_texts = blocks if read else [text.split("\n") for text in texts]
        glossary = self._glossary(asked, source, target)
        best: list[list[Translation]] = [[]] * len(texts)
        codes = [""] * len(texts)
        for served, numbers in self._groups(source, target, [" ".join(own) for own in of_texts]):
            lines = Lines([of_texts[number] for number in numbers])
            options: dict[str, Any] = {
                "split": SPLITS[word],
                "context": lines.contexts(numbers, fields.text("context", "")),
            }
            if glossary is not None:
                options["glossary"] = glossary.own
            found = await translated(asked, served, lines.all, n_best=1, **options) if lines.all else []
            code = base(served.now.model.sides.src.code).upper()
            for number, own in zip(numbers, lines.grouped(found), strict=True):
                best[number], codes[number] = [ranked[0] for ranked in own], code
        said = [[line.text for line in own] for own in best]
        written = await filled_in(asked, documents, said) if read else ["\n".join(own) for own in said]
        with self._lock:
            self._characters[asked.owner] += sum(characters)
        told = zip(best, codes, written, characters, strict=True)
        return {"translations": [_translation(*each) for each in told]}

    def _groups(self, source: str | None, target: str, texts: list[str]) -> list[tuple[Served, list[int]]]:
        """Returns which translator takes which of the texts."""
        groups: dict[str, tuple[Served, list[int]]] = {}
        for number, text in enumerate(texts):
            served = translator_for(self.site, source, target, text)
            if served is None:
                wrong = "target_lang" if not _written(self.site, target) else "source_lang"
                raise RequestError(400, f"Value for {wrong!r} not supported.", param=wrong)
            groups.setdefault(served.name, (served, []))[1].append(number)
        return list(groups.values())

    def _glossary(self, asked: Asked, source: str | None, target: str) -> Glossary | None:
        if not (identity := asked.fields.text("glossary_id", "")):
            return None
        glossary = self.glossaries.get(asked, identity)
        if source is None:
            raise RequestError(400, "Use of a glossary requires the source_lang parameter to be specified")
        if (glossary.source, glossary.target) != (source, target):
            raise RequestError(400, f"The glossary is for {glossary.source} to {glossary.target}")
        return glossary

    async def languages(self, asked: Asked) -> Any:
        """``GET /v2/languages``; clients send the type in the body too."""
        given = asked.request.query_params.get("type") or asked.fields.text("type", "source")
        if given not in ("source", "target"):
            raise RequestError(400, "Value for 'type' not supported.", param="type")
        if given == "source":
            return [{"language": base(each.code).upper(), "name": name_of(each.code)} for each in sources(self.site)]
        trees = []
        for each in targets(self.site):
            code = base(each.code)
            for variant in VARIANTS.get(code, (code.upper(),)):
                country = f" ({variant.partition('-')[2]})" if "-" in variant else ""
                trees.append({"language": variant, "name": name_of(code) + country, "supports_formality": False})
        return trees

    async def usage(self, asked: Asked) -> Any:
        """``GET /v2/usage``."""
        return {"character_count": self._characters[asked.owner], "character_limit": NO_LIMIT}


def _written(site: Site, target: str) -> bool:
    return target in [base(each.code) for each in targets(site)]


def _check_options(fields: Fields) -> None:
    """Refuses what is asked for and not done."""
    for name in UNSUPPORTED:
        if fields.tree.get(name):
            raise RequestError(400, f"{name} is not supported", param=name)
    formality = fields.text("formality", "") or "default"
    if formality != "default" and not formality.startswith("prefer_"):
        raise RequestError(400, f"formality {formality[:20]!r} is not supported", param="formality")


def _translation(lines: list[Translation], source: str, text: str, characters: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"detected_source_language": source, "text": text, "billed_characters": characters}
    if unmet := list(dict.fromkeys(phrase for line in lines for phrase in line.unmet)):
        tree["unmet_glossary_entries"] = unmet
    return tree
