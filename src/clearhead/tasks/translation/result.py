"""What a translator returns, and how it is asked."""

from dataclasses import dataclass, field
from typing import TypedDict

from clearhead.brief import Brief
from clearhead.errors import OnError
from clearhead.tasks.translation.documents.preceding import Context
from clearhead.text.glossary.glossary import GlossaryLike
from clearhead.text.overlong import OverlongSource, SplitSource
from clearhead.text.phrase_book import Phrases


class SearchOptions(TypedDict, total=False):
    """Keyword arguments of ``Translator.n_best``, which says what they are."""

    prefix: str
    split: SplitSource
    overlong: OverlongSource
    require: Phrases
    avoid: Phrases
    glossary: GlossaryLike | None
    context: Context
    on_error: OnError


class TranslateOptions(SearchOptions, total=False):
    """Keyword arguments of ``Translator.translate``, which says what they are."""

    beam: int
    length_penalty: float
    limit: int
    alignment: bool
    confidence: bool


@dataclass(frozen=True)
class Translation(Brief):
    """One translation of one text."""

    text: str
    score: float
    """Sum of ``log_probs``, in nats."""
    rank_score: float
    """Score with its length penalty."""
    pieces: list[str]
    """Target pieces, including the end mark if the model generated it."""
    log_probs: list[float]
    """The log-probability of each piece, in nats."""
    source_pieces: list[str]
    """Source pieces, with the end mark."""
    complete: bool = True
    """False if the translation reached the length limit before an end mark."""
    cut_better: bool = False
    """True if the length limit cut off another translation, which has a better rank score; complete ones go first."""
    before: int = 0
    """How many of ``source_pieces`` stand before the text itself: the tag of a language, and what is read with it."""
    alignment: list[int] | None = None
    """For each target piece the source piece with the most attention; None unless asked for."""
    confidence: float | None = None
    """chrF2 that such translations had on the valid split, 0 to 100; None unless asked for, or of an empty text."""
    parts: int = 1
    """How many parts the text was divided into: sentences, or pieces of one that was too long."""
    dropped: int = 0
    """Source pieces left out under the policy ``truncate``."""
    cuts: int = 0
    """How often a sentence had to be cut inside of a clause, because it was too long."""
    unknown: int = 0
    """Source pieces that are not in the vocabulary."""
    glossary: list[tuple[str, str]] = field(default_factory=list)
    """Sources and targets of the glossary's entries that occur in the text."""
    unmet: list[str] = field(default_factory=list)
    """Required phrases, and targets of ``glossary``, that it does not contain."""
    source_ids: list[int] = field(default_factory=list, repr=False)
    """Source pieces as ids, without the end mark."""
    target_ids: list[int] = field(default_factory=list, repr=False)
    """Ids of ``pieces``."""
    of_parts: "list[Translation]" = field(default_factory=list, repr=False, compare=False)
    """The translations of the parts, where there are several."""


EMPTY = Translation("", 0.0, 0.0, [], [], [])
"""The translation of an empty text."""
