"""How often each word stands in the training text: what a translator has seen often, and what hardly ever."""

import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from clearhead.data.corpus import open_text
from clearhead.evaluate.word_frequency import splitter
from clearhead.text.language import BleuTokenize


@functools.lru_cache(maxsize=2)
def word_counts(path: Path, changed: int, tokenize: BleuTokenize) -> Mapping[str, int]:
    """Counts the words of a file, once for all runs that are compared.

    Args:
        path: of one side of the text, plain or .gz.
        changed: when it was, in nanoseconds, so that another text is read anew.
        tokenize: sacreBLEU's tokenizer, which says what a word is.

    Raises:
        DataError: the file cannot be read.
    """
    words, counts = splitter(tokenize), Counter[str]()
    with open_text(path) as stream:
        for line in stream:
            counts.update(words(line.decode("utf-8", "replace")))
    return counts
