"""Filters of parallel text by what its lines are: copies, lines that read alike, other scripts, other languages."""

import functools
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from clearhead.errors import UsageError, nearest
from clearhead.ranges import CountOrZero, Share
from clearhead.text.language import Language, own_script, read_language

Identify = Callable[[str], list[tuple[str, float]]]
"""A text -> the codes of languages that it may be in, and their probabilities, best first."""


@dataclass(frozen=True)
class FilterConfig:
    """Which pairs are dropped for what their lines are; each is counted in the report."""

    min_len: CountOrZero = 0
    """Drops pairs with fewer pieces on a side: ``too_short``."""
    copies: bool = False
    """Drops pairs whose sides read alike, such as text that was never translated: ``copy``."""
    near_duplicates: bool = False
    """Drops pairs that read like one before, but for case, marks, spaces and width: ``near_duplicate``."""
    script: Share = 0.0
    """Least share of the letters of each side that are of its language's script, else ``script``; 0 is off."""
    language: Share = 0.0
    """Least probability, by py3langid, that each side is in its language, else ``language``; 0.05 loses hardly a good
    line. Needs the extra ``language``; 0 is off."""

    @property
    def key(self) -> list[Any]:
        """What encoded text depends on; nothing where no filter is on, so that its key is that of text without any."""
        return [] if self == FilterConfig() else [*asdict(self).values()]


class LineFilter:
    """Says why a pair is dropped.

    Args:
        config: which filters are on.
        languages: of source and target, any code.

    Raises:
        UsageError: a filter knows nothing of one of the languages, or its package is not installed.
    """

    def __init__(self, config: FilterConfig, languages: tuple[str, str]) -> None:
        self._config = config
        self._known = [read_language(code) for code in languages] if config.script or config.language else []
        if config.script:
            for language in self._known:
                if own_script("abc", language) is None:
                    raise UsageError(f"data.filters.script: the script of {language.code!r} is not known")
        self._identify, self._expected = None, list[str]()
        if config.language:
            self._identify, labels = identifier()
            self._expected = [_label(language, labels) for language in self._known]

    def __call__(self, src: str, tgt: str, src_pieces: int, tgt_pieces: int) -> str:
        """Returns the reason to drop a pair of lines with so many pieces; an empty string if there is none."""
        config = self._config
        if min(src_pieces, tgt_pieces) < config.min_len:
            return "too_short"
        if config.copies and reading(src) == reading(tgt):
            return "copy"
        if config.script and any(map(self._other_script, (src, tgt), self._known)):
            return "script"
        if config.language and any(map(self._other_language, (src, tgt), self._expected)):
            return "language"
        return ""

    def _other_script(self, text: str, language: Language) -> bool:
        share = own_script(text, language)
        return share is not None and share < self._config.script

    def _other_language(self, text: str, expected: str) -> bool:
        assert self._identify is not None
        ranked, least = self._identify(text), self._config.language
        if ranked[0][1] < least:  # a text of nothing that tells languages apart, such as OK
            return False
        return dict(ranked)[expected] < least


def reading(text: str) -> str:
    """Returns what two lines have in common that read alike: letters and numbers, in one case and width.

    A text of nothing but marks stands for itself.
    """
    kept = "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
    return kept or text.strip()


@functools.cache
def identifier() -> tuple[Identify, frozenset[str]]:
    """Returns what identifies languages, and the codes of those it knows.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise UsageError("data.filters.language: takes `pip install 'clearhead[language]'`") from error
    identify = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identify.rank, frozenset(identify.nb_classes)


def _label(language: Language, labels: frozenset[str]) -> str:
    """Returns the code by which the identifier knows a language."""
    code = language.code.split("-")[0]
    if code not in labels:
        raise UsageError(f"data.filters.language: {language.code!r} is not identified{nearest(code, labels)}")
    return code
