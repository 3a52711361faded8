"""How often each word stands in the training text: what a translator has seen often, and what hardly ever."""

import functools
from collections import Counter
from collections.abc import Mapping

from clearhead.data.corpus import ParallelFiles
from clearhead.evaluate.word_frequency import splitter
from clearhead.text.language import BleuTokenize


@functools.lru_cache(maxsize=2)
def word_counts(files: ParallelFiles, changed: int, tokenize: BleuTokenize) -> Mapping[str, int]:
    """Counts the words of the target side of a text, once for all runs that are compared.

    Args:
        files: the text.
        changed: when it was, in nanoseconds, so that another text is read anew.
        tokenize: sacreBLEU's tokenizer, which says what a word is.

    Raises:
        DataError: the file cannot be read.
    """
    words, counts = splitter(tokenize), Counter[str]()
    for _, _, line in files:
        counts.update(words(line))
    return counts
