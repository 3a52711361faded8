"""What stands before a text, and before each part of it: what a model reads with it that was trained so; no torch."""

from collections.abc import Sequence
from typing import TypeAlias

from clearhead.data.corpora.context import fitted
from clearhead.errors import DataError, UsageError
from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.text.division import Division
from clearhead.text.tokenizer import Tokenizer

Context: TypeAlias = str | Sequence[str]
"""What stands before the first of some texts, each of which stands before the next one; or before each of them."""


def before_each(texts: Sequence[str], context: Context, sides: Sides) -> list[str]:
    """Returns the text that stands before each of several.

    Raises:
        UsageError: the model reads no context, and there is one; or there are not as many as texts.
    """
    if not sides.reads_context:
        if context if isinstance(context, str) else any(context):
            raise UsageError("context: the model reads none, it was trained with data.context = 0")
        return [""] * len(texts)
    if isinstance(context, str):
        return [context, *texts[:-1]][: len(texts)]
    if len(context) != len(texts):
        raise UsageError(f"context: {len(context)} for {len(texts)} texts; must be one for each, or a str")
    return list(context)


def parted(text: str, sides: Sides) -> tuple[str, str]:
    """Returns what stands before a text, and the text: a tab is between the two where a view is asked for both."""
    if not sides.reads_context:
        return "", text
    before, _, own = text.rpartition("\t")
    return before, own


def last_line(text: str) -> str:
    """Returns the last line of a text without white space around it; nothing where that is blank."""
    return text.removesuffix("\n").removesuffix("\r").rpartition("\n")[2].strip()


def preceding(text: str, division: Division, before: str) -> list[str]:
    """Returns what stands before each part of a text: the line before it, or on the same line the part before it.

    Args:
        text: that is divided.
        division: its parts.
        before: the text before this one.
    """
    lines, at, found = [last_line(before), *text.split("\n")], 0, list[str]()
    for number, part in enumerate(division.parts):
        breaks = part.before.count("\n")
        at += breaks
        found.append(division.parts[number - 1].text if number and not breaks else lines[at].strip())
        at += part.text.count("\n")
    return found


def read_before(context: str, own: int, sides: Sides, tokenizer: Tokenizer) -> list[int]:
    """Returns the pieces that are read before a part with ``own`` pieces, the mark included; nothing if none are.

    A text that has no pieces, such as one with bytes that are no text, is not read.
    """
    if not context or not own:
        return []
    try:
        ids = tokenizer.encode(context)
    except DataError:
        return []
    return fitted(ids, own, most=sides.longest, tokenizer=tokenizer)
