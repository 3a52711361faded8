"""The directions that a translator knows: which is meant, and what is told of one that it has not seen; no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from clearhead.errors import UsageError
from clearhead.log import LOG
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.translation.parts import Sides
from clearhead.text.language import Language, read_language
from clearhead.text.special import ABSENT


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
