"""Translators side by side: their scores on a split, by length and by word frequency, and what each line counts for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clearhead.data.corpus import NoSplitError
from clearhead.evaluate.paired import Bleu, Chrf, Counts, Metric
from clearhead.evaluate.translation import score_translations
from clearhead.evaluate.word_frequency import frequency_scores
from clearhead.tasks.family import ComparedScores
from clearhead.tasks.translation.corpora.reading import corpus_files, read_lines
from clearhead.tasks.translation.scoring import MixtureEvaluation, evaluate_directions, split_files, tokenize_of
from clearhead.tasks.translation.translator import Translator
from clearhead.tasks.translation.trust.frequencies import word_counts
from clearhead.text.language import BleuTokenize


def compare_translator(
    translator: Translator, folder: Path, split: str, *, beam: int, tokenize: BleuTokenize | None = None
) -> ComparedScores:
    """Scores a split as ``evaluate`` does; one direction also by thirds of its length, and words by frequency."""
    evaluation = evaluate_directions(translator, folder, split, beam=beam, length_penalty=1.0, tokenize=tokenize)
    if isinstance(evaluation, MixtureEvaluation):
        return _compared_each(translator, folder, split, evaluation, tokenize)
    lines = read_lines(split_files(translator, folder, split))
    scores: dict[str, float | None] = {"BLEU": evaluation.scores.bleu, "chrF2": evaluation.scores.chrf}
    used = tokenize or tokenize_of(translator)
    order = np.argsort([len(src.strip()) for src, _ in lines], kind="stable")
    for name, rows in zip(("short", "middle", "long"), np.array_split(order, 3), strict=True):
        texts, references = [evaluation.translations[row] for row in rows], [lines[row][1] for row in rows]
        scored = score_translations(texts, references, tokenize=used) if len(rows) else None
        scores[f"BLEU, {name}"] = scored.bleu if scored else None
    references = [reference for _, reference in lines]
    frequencies = _frequencies(translator, folder, used)
    scores |= frequency_scores(evaluation.translations, references, frequencies, used)
    return ComparedScores(scores, evaluation.tokens_per_second, _counts(evaluation.translations, references, used))


def _counts(
    translations: Sequence[str], references: Sequence[str], tokenize: BleuTokenize
) -> dict[str, tuple[Metric, Counts]]:
    """Returns BLEU and chrF2 with what each line counts for."""
    metrics: dict[str, Bleu | Chrf] = {"BLEU": Bleu(references, tokenize), "chrF2": Chrf(references)}
    return {name: (metric, metric.counts(translations)) for name, metric in metrics.items()}


def _compared_each(
    translator: Translator, folder: Path, split: str, evaluation: MixtureEvaluation, tokenize: BleuTokenize | None
) -> ComparedScores:
    """Returns the means of several corpora, and of each its BLEU with what its lines count for."""
    scores: dict[str, float | None] = {"BLEU": evaluation.bleu, "chrF2": evaluation.chrf}
    counts: dict[str, tuple[Metric, Counts]] = {}
    corpora = {corpus.label: corpus for corpus in translator.recipe.data.corpora}
    for label, one in evaluation.each.items():
        way = translator.toward(corpora[label].tgt, corpora[label].src)
        references = [tgt for _, tgt in read_lines(corpus_files(folder, translator.recipe, corpora[label], split))]
        scores[f"BLEU, {label}"] = one.scores.bleu
        counts[f"BLEU, {label}"] = _counts(one.translations, references, tokenize or tokenize_of(way))["BLEU"]
    speeds = [one.tokens_per_second for one in evaluation.each.values()]
    return ComparedScores(scores, len(speeds) / sum(1 / speed for speed in speeds), counts)


def _frequencies(translator: Translator, folder: Path, tokenize: BleuTokenize) -> Mapping[str, int] | None:
    """Counts the words of the training text in ``folder``; None if there is none."""
    try:
        files = split_files(translator, folder, "train")
    except NoSplitError:
        return None
    return word_counts(files, files.tgt.stat().st_mtime_ns, tokenize)
