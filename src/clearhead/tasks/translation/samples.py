"""What a translator in training makes of a few lines of the valid split: greedy translations of a bounded length."""

from collections.abc import Mapping, Sequence
from typing import Any

from clearhead.evaluate.translation import score_lines, score_translations
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.translation.corpora.reading import ValidPart
from clearhead.tasks.translation.recipe import Net, TranslationRecipe
from clearhead.tasks.translation.scoring import greedy_texts
from clearhead.training.events import SampledLine
from clearhead.training.samples.choose import most_pieces, sampled_line


def translation_samples(
    recipe: TranslationRecipe, tokenizers: Tokenizers, model: Net, parts: Sequence[ValidPart], **options: Any
) -> tuple[list[SampledLine], Mapping[str, float]]:
    """Translates the lines of ``ValidPart.sampled`` greedily.

    Args:
        recipe: of the run.
        tokenizers: of both sides.
        model: the model in training.
        parts: the valid split, a part for each corpus.
        options: device and lengths, see ``greedy_texts``.

    Returns:
        The translations, each with its chrF2, and chrF2 of all.
    """
    made: list[SampledLine] = []
    texts: list[str] = []
    wanted: list[str] = []
    for part in parts:
        if not part.sampled:
            continue
        sources, references = ([*side] for side in zip(*part.sampled, strict=True))
        limit = most_pieces(map(len, tokenizers.tgt.encode_batch(references)))
        way = (part.corpus.src, part.corpus.tgt)
        own = greedy_texts(recipe, tokenizers, model, sources, way=way, limit=limit, context=part.before, **options)
        name = part.corpus.label if len(parts) > 1 else ""
        rows = zip(sources, references, own, score_lines(own, references), strict=True)
        made += [sampled_line(*row[:3], score=row[3], source=name) for row in rows]
        texts, wanted = [*texts, *own], [*wanted, *references]
    return made, {"chrf": score_translations(texts, wanted).chrf} if made else {}
