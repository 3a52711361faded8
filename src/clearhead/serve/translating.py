"""Translations of a request: all its texts in one call, whose searches join those of all others."""

from typing import Any

from clearhead.decode.hypotheses import SearchConfig
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.models import Served
from clearhead.tasks.translation.result import EMPTY, Translation
from clearhead.tasks.translation.search.native import Searching

BEAM, MOST_BEAM, MOST_TEXTS = 5, 16, 8


async def translated(
    asked: Asked, served: Served, texts: list[str], *, n_best: int | None = None, **options: Any
) -> list[list[Translation]]:
    """Returns the translations of each text, best first, and says in headers what a client might not see.

    Args:
        asked: the request, which may have ``beam``, ``length_penalty``, ``max_tokens`` and ``n``.
        served: the translator.
        texts: of any length.
        n_best: translations of each; None: as the request says.
        options: see ``TextTranslator.n_best``; they are not checked again.
    """
    fields = asked.fields
    count = fields.whole("n", 1, 1, MOST_TEXTS) if n_best is None else n_best
    beam = max(fields.whole("beam", BEAM, 1, MOST_BEAM), count)
    penalty = fields.number("length_penalty", 1.0, 0.0, 10.0)
    limit = fields.whole("max_tokens", 0, 0, asked.settings.max_pieces)
    model = served.now.model
    asked.headers["X-Clearhead-Checkpoint"] = served.now.label

    def translating() -> Searching[list[list[Translation]]]:
        config = SearchConfig(beam, count, penalty, limit)
        ranked = yield from model.translating(texts, config, **options, on_pieces=asked.check_size)
        return [each or [EMPTY] for each in ranked]

    found = await asked.carry_out(model, translating(), sum(map(len, texts)))
    asked.headers["X-Clearhead-Parts"] = ",".join(str(ranked[0].parts) for ranked in found[:64])
    if unmet := [phrase for ranked in found for phrase in ranked[0].unmet]:
        asked.headers["X-Clearhead-Unmet"] = str(len(unmet))
    return found


def finish_reason(translation: Translation) -> str:
    """Returns OpenAI's word for how a translation ended."""
    return "stop" if translation.complete else "length"
