"""Text as it comes: pieces to characters that stay as they are, and stop strings that end it."""

import re
from collections.abc import Callable, Sequence

from clearhead.errors import UsageError

CONTEXT = 8  # pieces that decide how the next ones read: characters have 4 bytes at most, rules of spacing 2 pieces

# What a later piece may still change: half a character, which reads U+FFFD, and in wordpiece the space before an
# apostrophe or hyphen, which goes when a word follows (don ' t -> don't).
_UNSETTLED = re.compile(r"\ufffd\Z|(?<=\w) ['’\-]\Z")


def lasting(text: str) -> str:
    """Returns the beginning of what pieces read that no later piece can change."""
    unsettled = _UNSETTLED.search(text[-3:])
    return text[: len(text) - len(unsettled[0])] if unsettled else text


class TextStream:
    """Decodes pieces one at a time; the parts that it gives out, joined, are ``decode`` of all pieces.

    A piece costs the decoding of at most ``2 * CONTEXT`` pieces, however long the text. A character is given out when
    no later piece can change it: half a character waits for its other bytes.

    Args:
        decode: pieces to text, as ``Tokenizer.decode``. Later pieces must leave the text of earlier ones as it is,
            except for a U+FFFD at its end and a space before an apostrophe or hyphen there.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._text = ""  # of the window
        self._given = 0  # characters of it that are out

    def push(self, piece: int) -> str:
        """Takes the next piece and returns the text that is settled now, often nothing."""
        text = self._decode([*self._window, piece])
        if text == self._text and piece in self._window and not self._decode([piece]):
            return ""  # an invisible piece once more: many of them must not push the text out of the window
        self._window.append(piece)
        end = max(self._given, len(lasting(text)))
        given, self._text, self._given = text[self._given : end], text, end
        if len(self._window) >= 2 * CONTEXT:
            waiting = len(text) - self._given
            self._window = self._window[-CONTEXT:]
            self._text = self._decode(self._window)
            self._given = len(self._text) - waiting
        return given

    def flush(self) -> str:
        """Returns what waited for a piece that never came."""
        rest, self._given = self._text[self._given :], len(self._text)
        return rest


class StopStrings:
    """Ends a text before the first stop string in it; how the text is cut into parts changes nothing.

    The first stop string is the one that is complete first; of several that end together, the longest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises UsageError for an empty stop string."""
        if not all(stops):
            raise UsageError(f"stop strings {list(stops)}: one of them is empty, text would end before it begins")
        self._stops, self._longest = list(stops), max(map(len, stops), default=0)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Takes the next part of the text and returns what may be shown now, and whether the text has ended.

        An end of the text that may be the beginning of a stop string is held back. After the end, push no more.
        """
        text = self._held + text
        places = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            self._held = ""
            return text[: min(places)[1]], True
        first = max(0, len(text) - self._longest + 1)
        begun = (at for at in range(first, len(text)) if any(stop.startswith(text[at:]) for stop in self._stops))
        cut = next(begun, len(text))
        self._held = text[cut:]
        return text[:cut], False

    def flush(self) -> str:
        """Returns what was held back for a stop string that never came."""
        rest, self._held = self._held, ""
        return rest
