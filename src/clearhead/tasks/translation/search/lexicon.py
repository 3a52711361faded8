"""Learns a lexical shortlist from the encoded training text, by IBM model 1 over pieces."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clearhead.data.corpora.joined import EncodedPairs
from clearhead.progress import Progress, silent
from clearhead.runs.text_parts import Tokenizers, load_both_sides
from clearhead.tasks.family import open_for
from clearhead.tasks.translation.corpora.reading import encode_training, training_files
from clearhead.tasks.translation.recipe import WORDS, parse_translation
from clearhead.tasks.translation.search.shortlist import Shortlist
from clearhead.text.tokenizer import Tokenizer

PASSES = 5  # of expectation maximization; more change few of the best
MOST_PAIRS = 1_000_000  # that are read; of a larger text so many, evenly spread
MOST_LOOKED_AT = 20_000  # pairs that say how large shortlists are
AT_ONCE = 1 << 22  # places of two pieces in a pair that are in memory

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Learned:
    """A shortlist, and what it says of the text that it comes from."""

    shortlist: Shortlist
    pairs: int
    """That it was learned from."""
    size: float
    """Mean number of pieces that may translate one of their sources."""
    covered: float
    """Share of their target pieces that are among these."""


def learn_shortlist(run: Path, data: Path, *, best: int, frequent: int, progress: Progress = silent) -> Learned:
    """Learns the shortlist of a run from the text that it was trained on, and keeps it there.

    Args:
        run: of a translator.
        data: folder of its training text.
        best: most target pieces of each source piece.
        frequent: most frequent target pieces, which may always come.
        progress: called with (passes done, passes in all).

    Raises:
        ModelError: it is not the run of a translator, or cannot be written to.
        DataError: the text cannot be used.
    """
    opened = open_for(WORDS, run, checkpoint="best")
    recipe, both = parse_translation(opened.tree, opened.source), load_both_sides(run).both
    pairs = encode_training(training_files(data, recipe), recipe, both)  # as it is kept from training
    learned = learned_from(pairs, both, best=best, frequent=frequent, progress=progress)
    learned.shortlist.save(run)
    return learned


def learned_from(
    store: EncodedPairs, tokenizers: Tokenizers, *, best: int, frequent: int, progress: Progress = silent
) -> Learned:
    """Learns a shortlist from encoded pairs; arguments as in ``learn_shortlist``."""
    rows = np.arange(len(store)) if len(store) <= MOST_PAIRS else np.linspace(0, len(store) - 1, MOST_PAIRS).astype(int)
    src, tgt = tokenizers.src.vocab_size, tokenizers.tgt.vocab_size
    keys, chances, counts = _lexicon(store, rows, src, tgt, progress)
    likely, ends = _best(keys, chances, tokenizers, best)
    always = _always(tokenizers.tgt, counts, frequent)
    shortlist = Shortlist(likely, ends, always, tgt)
    looked_at = rows[:: -(-len(rows) // MOST_LOOKED_AT)].tolist()
    chosen = [pieces for row in looked_at for pieces in shortlist.choose([store.line(row).tolist()])]
    targets = [store.tgt(row) for row in looked_at]
    covered = sum(int(np.isin(target, pieces).sum()) for target, pieces in zip(targets, chosen, strict=True))
    size = sum(map(len, chosen)) / len(chosen)
    return Learned(shortlist, len(rows), size, covered / max(sum(map(len, targets)), 1))


def _lexicon(
    store: EncodedPairs, rows: Numbers, src: int, tgt: int, progress: Progress
) -> tuple[Numbers, NDArray[np.float64], Numbers]:
    """Finds how probable each target piece is for each source piece that it occurs with (Brown et al. 1993, model 1).

    Returns:
        Source piece * ``tgt`` + target piece of all that occur together, ascending, where ``src`` stands for no piece;
        the probability of each; and how often each target piece occurs.
    """
    keys, counts = np.zeros(0, np.int64), np.zeros(tgt, np.int64)
    for first, second, _ in _places(store, rows, src):
        keys = np.union1d(keys, first * tgt + second)
        counts += np.bincount(second[first == src], minlength=tgt)  # each place meets no piece once
    chances = np.ones(len(keys))
    of_source = keys // tgt
    for done in range(PASSES):
        expected = np.zeros(len(keys))
        for first, second, place in _places(store, rows, src):
            at = np.searchsorted(keys, first * tgt + second)
            share = chances[at]
            share /= np.bincount(place, share)[place]
            expected += np.bincount(at, share, minlength=len(keys))
        chances = expected / np.bincount(of_source, expected)[of_source]
        progress(done + 1, PASSES)
    return keys, chances, counts


def _places(store: EncodedPairs, rows: Numbers, src: int) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Yields, for many pairs at a time, every source piece with every target piece of its pair, and ``src`` with each.

    The third array numbers the places of target pieces from 0.
    """
    sizes = [lengths[rows].astype(np.int64) for lengths in store.line_lengths]
    ends = np.cumsum((sizes[0] + 1) * sizes[1])
    first = 0
    while first < len(rows):
        most = (ends[first - 1] if first else 0) + AT_ONCE
        last = max(first + 1, int(np.searchsorted(ends, most, side="right")))
        own, wide = rows[first:last].tolist(), sizes[0][first:last] + 1
        tgt = np.concatenate([store.tgt(row) for row in own]).astype(np.int64)
        with_none = np.concatenate([part for row in own for part in (store.line(row), [src])]).astype(np.int64)
        begins = np.cumsum(wide) - wide
        of_pair = np.repeat(np.arange(len(own)), sizes[1][first:last])  # pair of each target place
        repeats = wide[of_pair]
        place = np.repeat(np.arange(len(tgt)), repeats)
        inside = np.arange(len(place)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        yield with_none[begins[of_pair][place] + inside], tgt[place], place
        first = last


def _best(
    keys: Numbers, chances: NDArray[np.float64], tokenizers: Tokenizers, best: int
) -> tuple[NDArray[np.int32], Numbers]:
    """Lists the best target pieces of each source piece; first the one that is spelled alike, for names and numbers."""
    src, tgt = tokenizers.src, tokenizers.tgt
    source, target = np.divmod(keys, tgt.vocab_size)
    never = np.isin(target, [*tgt.special])
    same = {tgt.spelling(piece): piece for piece in range(tgt.vocab_size) if piece not in tgt.special}
    alike = [(piece, same[text]) for piece in range(src.vocab_size) if (text := src.spelling(piece)) in same]
    copied = np.array(alike, np.int64).reshape(-1, 2)
    known = (source < src.vocab_size) & ~never & (chances > 0)
    source = np.concatenate([copied[:, 0], source[known]])
    target = np.concatenate([copied[:, 1], target[known]])
    weight = np.concatenate([np.full(len(copied), 2.0), chances[known]])  # above every probability
    order = np.lexsort((target, -weight, source))
    source, target = source[order], target[order]
    begins = np.searchsorted(source, np.arange(src.vocab_size))
    kept = np.arange(len(source)) - begins[source] < best
    ends = np.cumsum(np.bincount(source[kept], minlength=src.vocab_size))
    return target[kept].astype(np.int32), ends.astype(np.int64)


def _always(tokenizer: Tokenizer, counts: Numbers, frequent: int) -> NDArray[np.int32]:
    """Lists the end mark, the most frequent pieces, and bytes that finish a character where pieces leave it half."""
    often = [piece for piece in np.argsort(-counts, kind="stable") if counts[piece] and piece not in tokenizer.special]
    rest: list[int] = []
    if tokenizer.characters is not None:
        spellings = [tokenizer.spelling(piece) for piece in range(tokenizer.vocab_size)]
        rest = [piece for piece, text in enumerate(spellings) if len(text) == 1 and 0x80 <= text[0] < 0xC0]
    return np.unique(np.array([tokenizer.ids.eos, *often[:frequent], *rest], np.int32))
