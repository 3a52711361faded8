"""Which pieces of a vocabulary begin or end a word, decided for all kinds by the bytes a piece adds to a text."""

import re

import numpy as np
from numpy.typing import NDArray

from clearhead.text.normalize import UNSPACED
from clearhead.text.tokenizer import Tokenizer

_ALONE = re.compile(rf"[{UNSPACED}]|[^\w\s]")


def word_borders(tokenizer: Tokenizer) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns for every id whether its piece begins a word, and whether it ends a word.

    A piece begins a word if it starts with white space or, in wordpiece, has no ``##``. A punctuation mark at the begin
    or end of a piece is a word of its own, and so is a character of a script without spaces. A piece of several Chinese
    characters is one word, and so are several pieces of bytes that make one character.
    """
    begins = np.zeros(tokenizer.vocab_size, np.bool_)
    ends = np.zeros(tokenizer.vocab_size, np.bool_)
    for index in range(tokenizer.vocab_size):
        spelled = tokenizer.spelling(index)
        text = spelled.decode("utf-8", "replace")
        if not text:
            continue
        continued = 0x80 <= spelled[0] < 0xC0  # continues a character
        begins[index] = text[0].isspace() or (not continued and _starts_alone(spelled, text))
        ends[index] = bool(_ALONE.fullmatch(text[-1])) and text[-1] != "\ufffd"
    return begins, ends


def _starts_alone(spelled: bytes, text: str) -> bool:
    if text[0] != "\ufffd":
        return bool(_ALONE.fullmatch(text[0]))
    return 0xE3 <= spelled[0] <= 0xE9 or spelled[0] == 0xF0  # first bytes of nearly all characters in ``UNSPACED``
