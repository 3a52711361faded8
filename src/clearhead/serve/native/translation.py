"""Translations for the page: in parts with their words, what is certain, where each comes from; alternatives."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clearhead.decode.hypotheses import SearchConfig
from clearhead.documents.words import Word
from clearhead.serve.http.body import Fields
from clearhead.tasks.translation.documents.facing import facing
from clearhead.tasks.translation.result import Translation
from clearhead.tasks.translation.search.native import Searching
from clearhead.tasks.translation.texts import TextTranslator
from clearhead.text.division import Division
from clearhead.text.glossary.glossary import Glossary

if TYPE_CHECKING:
    from clearhead.tasks.translation.translator import Translator

BEAM, MOST_BEAM, MOST_BEST, MOST_PHRASES, MOST_ENTRIES = 5, 16, 16, 64, 1000


def translate(model: TextTranslator, fields: Fields, check_size: Callable[[int], None]) -> Searching[dict[str, Any]]:
    """Translates as ``searched`` does, and tells all that is known without alignment."""
    ranked = yield from searched(model, fields, check_size)
    return answer(ranked, model)


def answer(ranked: list[Translation], model: TextTranslator, aligner: "Translator | None" = None) -> dict[str, Any]:
    """Returns what is told of translations; ``aligner``, the same model by PyTorch, says where words come from."""
    return {"translations": [told(each, model, aligner) for each in ranked]}


def searched(model: TextTranslator, fields: Fields, check_size: Callable[[int], None]) -> Searching[list[Translation]]:
    """Translates ``text``; ``beam``, ``n_best``, ``length_penalty``, ``prefix``, ``require``, ``avoid`` as in Python.

    ``context`` is what stands before it, for a model that reads that.
    ``glossary`` is a list of pairs, and so is ``avoid_where``, of a source and what is not to be in its translation.

    Args:
        model: the translator.
        fields: of the request.
        check_size: told the pieces of the text; refuses too many.
    """
    count = fields.whole("n_best", 1, 1, MOST_BEST)
    beam = max(fields.whole("beam", BEAM, 1, MOST_BEAM), count)
    config = SearchConfig(beam, count, fields.number("length_penalty", 1.0, 0.0, 10.0))
    phrases: Any = {name: fields.texts(name, most=MOST_PHRASES, default=[]) for name in ("require", "avoid")}
    text, asked, shunned = fields.text("text"), _pairs(fields, "glossary"), _pairs(fields, "avoid_where")
    if asked:
        phrases["glossary"] = Glossary.of(asked)
    if shunned:
        found = Glossary.of([(source, "|".join(targets)) for source, targets in _by_source(shunned)], "avoid_where")
        phrases["avoid"] += [form.text for entry in found.found(text) for form in entry.forms]
    own: Any = {name: fields.text(name, "") for name in ("prefix", "context")}

    def on_divided(divisions: list[Division]) -> None:
        check_size(sum(division.pieces for division in divisions))

    (ranked,) = yield from model.translating([text], config, **own, **phrases, on_divided=on_divided)
    return ranked


def _pairs(fields: Fields, name: str) -> list[list[str]]:
    """Reads a list of pairs of strings."""
    rows = fields.tree.get(name) or []
    pairs = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 for row in rows)
    if not pairs or not all(isinstance(each, str) for row in rows for each in row):
        fields.refuse(name, "must be a list of pairs of strings")
    if len(rows) > MOST_ENTRIES:
        fields.refuse(name, f"has {len(rows)} pairs, at most {MOST_ENTRIES}")
    return list(rows)


def _by_source(pairs: list[list[str]]) -> list[tuple[str, list[str]]]:
    targets: dict[str, list[str]] = {}
    for source, target in pairs:
        targets.setdefault(source, []).append(target)
    return list(targets.items())


def alternatives(model: "Translator", fields: Fields) -> dict[str, Any]:
    """Returns translations of ``text`` that differ in the first piece behind ``prefix``, the most probable first.

    ``text`` is one part of a text, as ``translate`` returned it, and ``context`` what was read before it.
    """
    count, beam = fields.whole("count", 6, 1, MOST_BEST), fields.whole("beam", BEAM, 1, MOST_BEAM)
    prefix = fields.text("prefix", "")
    options: Any = {"prefix": prefix, "beam": beam, "split": "never", "overlong": "error"}
    options["context"] = fields.text("context", "")
    ranked = model.alternatives(fields.text("text"), count, **options)
    start = len(model.tokenizers.tgt.encode(prefix))
    found = [told(each, model, model) | {"probability": math.exp(_first(each, start))} for each in ranked]
    return {"prefix": prefix, "alternatives": sorted(found, key=lambda each: -each["probability"])}


def _first(translation: Translation, start: int) -> float:
    """The log-probability of the piece behind a prefix."""
    return translation.log_probs[start] if start < len(translation.log_probs) else 0.0


def told(translation: Translation, model: TextTranslator, aligner: "Translator | None") -> dict[str, Any]:
    """Returns a translation with the parts that it consists of."""
    parts, at, between = [], 0, []
    for part in translation.of_parts or [translation]:
        begin = translation.text.find(part.text, at)
        between.append(translation.text[at : max(begin, at)])
        at = max(begin, at) + len(part.text)
        parts.append(_part(part, model, aligner))
    for tree, before in zip(parts, between, strict=True):
        tree["before"] = before
    return {
        "text": translation.text,
        "score": translation.score,
        "rank_score": translation.rank_score,
        "complete": translation.complete,
        "cut_better": translation.cut_better,
        "dropped": translation.dropped,
        "cuts": translation.cuts,
        "unknown": translation.unknown,
        "unmet": translation.unmet,
        "parts": parts,
    }


def _part(part: Translation, model: TextTranslator, aligner: "Translator | None") -> dict[str, Any]:
    if aligner is not None and part.alignment is None and part.pieces:
        part = aligner.aligned(part)
    sides, read = facing(part, model), model.tokenizers.src
    source_words = sides.source_words()
    return {
        "source": sides.source,
        "text": part.text,
        "complete": part.complete,
        "unknown": part.unknown,
        "pieces": part.pieces,
        "log_probs": part.log_probs,
        "context": read.decode(part.source_ids[: part.before]),
        "context_pieces": part.before,
        "source_pieces": part.source_pieces,
        "alignment": part.alignment,
        "source_words": [[word.start, word.end] for word in source_words],
        "words": [
            {
                "start": word.start,
                "end": word.end,
                "certainty": math.exp(min(part.log_probs[word.first : word.last + 1], default=0.0)),
                "sources": _sources(set(sides.looked_at(word)), source_words),
            }
            for word in sides.words
        ],
    }


def _sources(pieces: set[int], source_words: list[Word]) -> list[int]:
    """Numbers of the source words that pieces of the source belong to."""
    return [number for number, each in enumerate(source_words) if pieces & set(range(each.first, each.last + 1))]
