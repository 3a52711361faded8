"""How well words are translated that the training text has often, seldom or never."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clearhead.text.language import BleuTokenize

GROUPS: dict[str, tuple[int, float]] = {
    "never": (0, 0),
    "1 to 9 times": (1, 9),
    "10 to 99 times": (10, 99),
    "100 to 999 times": (100, 999),
    "1,000 times or more": (1000, float("inf")),
}
"""Words by how often they stand in the training text, from and to."""


def splitter(tokenize: BleuTokenize) -> Callable[[str], list[str]]:
    """Returns what divides a line into words as sacreBLEU's tokenizer does."""
    from sacrebleu.metrics.bleu import BLEU

    tokenizer: Any = BLEU(tokenize=tokenize, force=tokenize == "none").tokenizer
    return lambda line: str(tokenizer(line.rstrip())).split()


def frequency_scores(
    translations: Sequence[str],
    references: Sequence[str],
    frequencies: Mapping[str, int] | None,
    tokenize: BleuTokenize,
) -> dict[str, float | None]:
    """Returns F1 of the words of each group, in percent: the harmonic mean of precision and recall over all lines.

    A word of a translation is right as often as its reference has it (as Neubig et al. 2019, arXiv:1903.07926, count).

    Args:
        translations: one a line.
        references: likewise.
        frequencies: how often each word stands in the training text; None: nobody knows.
        tokenize: what a word is.

    Returns:
        The scores by name; None where no word of a group stands in translations or references.
    """
    words = splitter(tokenize)
    right, written = [Counter[str]() for _ in range(2)]
    if frequencies is not None:
        for translation, reference in zip(translations, references, strict=True):
            found, expected = Counter(words(translation)), Counter(words(reference))
            right.update(found & expected)
            written.update(found + expected)
    scores: dict[str, float | None] = {}
    for name, (least, most) in GROUPS.items():
        group = [word for word in written if least <= (frequencies or {}).get(word, 0) <= most]
        total = sum(written[word] for word in group)
        scores[f"word F1, trained {name}"] = 200 * sum(right[word] for word in group) / total if total else None
    return scores
