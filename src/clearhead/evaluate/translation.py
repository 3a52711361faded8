"""Scores of translations: BLEU and chrF computed by sacreBLEU, with its signatures."""

from collections.abc import Sequence
from dataclasses import dataclass

from clearhead.text.language import BleuTokenize


@dataclass(frozen=True)
class TranslationScores:
    """Corpus scores of one set of translations."""

    bleu: float
    """0 to 100 (Papineni et al. 2002)."""
    bleu_signature: str
    chrf: float
    """0 to 100 (Popovic 2015)."""
    chrf_signature: str
    exact_match: float
    """Percentage of translations that equal their reference."""


def score_lines(translations: Sequence[str], references: Sequence[str]) -> list[float]:
    """Returns chrF2 of each translation, 0 to 100."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()
    pairs = zip(translations, references, strict=True)
    return [float(chrf.sentence_score(text, [reference]).score) for text, reference in pairs]


def score_translations(
    translations: Sequence[str], references: Sequence[str], *, tokenize: BleuTokenize = "13a"
) -> TranslationScores:
    """Scores ``translations`` against one reference each (Post 2018, arXiv:1804.08771)."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    bleu, chrf = BLEU(tokenize=tokenize, force=tokenize == "none"), CHRF()
    bleu_score = bleu.corpus_score(translations, [references]).score
    chrf_score = chrf.corpus_score(translations, [references]).score
    equal = sum(a.strip() == b.strip() for a, b in zip(translations, references, strict=True))
    return TranslationScores(
        bleu=float(bleu_score),
        bleu_signature=str(bleu.get_signature()),
        chrf=float(chrf_score),
        chrf_signature=str(chrf.get_signature()),
        exact_match=100 * equal / max(len(references), 1),
    )
