"""The directions that a translator knows: which is meant, and what is told of one that it has not seen; no torch."""

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from clearhead.engine.rows import NativeModel
from clearhead.errors import UsageError
from clearhead.log import LOG
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.native import NativeUser
from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.text.language import Language, read_language
from clearhead.text.special import ABSENT

if TYPE_CHECKING:
    from clearhead.tasks.translation.recipe import Net

Own = TypeVar("Own", bound="Directed")


class Directed(NativeUser):
    """What translates in one direction, or in several with the same weights."""

    _chosen: Sides | None = None

    @property
    @abstractmethod
    def directions(self) -> tuple[Sides, ...]:
        """The pairs of languages that the model was trained for; one, but for a model of several corpora."""

    @property
    def sides(self) -> Sides:
        """The two languages, and how much of them the model reads and writes at a time.

        Raises:
            UsageError: there are several directions, and none was chosen.
        """
        if self._chosen is not None:
            return self._chosen
        return self.directions[0] if len(self.directions) == 1 else meant(self.directions)

    def toward(self: Own, to: str = "", source: str = "") -> Own:
        """Returns this translator for one of its directions; both compute with the same weights.

        A direction that was in no training text, of languages that were, is told in the log.

        Args:
            to: language of the translations, any code of it; empty: there is but one.
            source: language of the texts, likewise.

        Raises:
            UsageError: the model does not read or write the language, or several directions fit.
        """
        chosen = meant(self.directions, to, source)
        if self.directions == (chosen,):
            return self
        _ = self.writer  # which is made once for all directions
        view = copy.copy(self)
        object.__setattr__(view, "_chosen", chosen)
        return view

    @property
    def leading(self: Own) -> Own:
        """This translator; of several directions, for the first where none was chosen."""
        if self._chosen is not None or len(self.directions) == 1:
            return self
        first = self.directions[0]
        return self.toward(first.tgt.code, first.src.code)

    @property
    @abstractmethod
    def writer(self) -> "Net | NativeModel":
        """What decodes."""


def distinct(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """Returns pairs of source and target language by the codes of both, each once, the last of those that mean one."""
    return {(read_language(src).code, read_language(tgt).code): (src, tgt) for src, tgt in pairs}


def meant(directions: Sequence[Sides], to: str = "", source: str = "") -> Sides:
    """Returns the direction that is asked for; one that was in no training text is told in the log.

    Args:
        directions: that the translator was trained for.
        to: language of the translation, any code of it; empty: there is but one.
        source: language of the text, likewise.

    Raises:
        UsageError: the language is none that the translator reads or writes, or several directions fit.
    """
    written, read = _find([each.tgt for each in directions], to), _find([each.src for each in directions], source)
    if written is None:
        known = _codes(each.tgt for each in directions)
        raise UsageError(f"to = {to!r}: the model translates into {known}")
    if read is None:
        known = _codes(each.src for each in directions)
        raise UsageError(f"from = {source!r}: the model translates from {known}")
    fitting = [each for each in directions if each.tgt.code in written and each.src.code in read]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        return _unseen(directions, next(iter(read)), next(iter(written)))
    known = described(directions)
    if len({each.tgt.code for each in fitting}) > 1:
        raise UsageError(f"to: the model translates {known}; say which: --to, or toward() in Python")
    raise UsageError(f"from: the model translates {known}; say which: --from, or toward() in Python")


def described(directions: Iterable[Sides]) -> str:
    """Returns directions as text."""
    return ", ".join(f"{each.src.code} to {each.tgt.code}" for each in directions)


def tag_in(tokenizers: Tokenizers, language: str) -> int:
    """Returns the piece that says that a translation is to be in a language; ABSENT where the vocabulary has none."""
    return tokenizers.src.tags.get(read_language(language).code, ABSENT)


def _find(languages: Sequence[Language], asked: str) -> set[str] | None:
    """Returns the codes of the languages that are meant: all where none is asked for; None if there is no such."""
    codes = {language.code for language in languages}
    if not asked:
        return codes
    code = asked if asked in codes else read_language(asked).code
    return {code} if code in codes else None


def _unseen(directions: Sequence[Sides], source: str, target: str) -> Sides:
    """Returns a direction that was in no training text, of two that were."""
    reading = next(each for each in directions if each.src.code == source)
    writing = next(each for each in directions if each.tgt.code == target)
    known = described(directions)
    LOG.warning("%s to %s: the model has seen no such pair, only %s; expect little", source, target, known)
    return replace(writing, src=reading.src)


def _codes(languages: Iterable[Language]) -> str:
    return ", ".join(dict.fromkeys(language.code for language in languages))
