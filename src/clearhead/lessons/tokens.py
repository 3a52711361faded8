"""What a tokenizer makes of a sentence, kind by kind, and what of a text comes back.

Five kinds learn from the same Chinese and English sentences: characters; BPE, which merges frequent pairs, of
characters (Sennrich et al., 2016) or of bytes (Radford et al., 2019); WordPiece as in BERT; unigram (Kudo, 2018), which
the library trains a little differently each time. Beside them stands what one would try first: words, cut at spaces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from clearhead.data.demo_corpus import SHOWCASE, demo_pairs
from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.special import UNK
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LIMITS = {"vocab_size": (300, 8000), "lines": (200, 10_000), "sizes": (300, 8000)}
SHORT = {"lines": 500, "sizes": (300, 1000)}
HELD_OUT = 300  # lines that no tokenizer has learned from
RARE = "龘"
ODD = f"a naïve {RARE}  🍎"  # the training text has no ï, no 龘 and no apple of this kind; there are two spaces
LOST = "\ufffd"  # what an unknown piece decodes to

Pair = tuple[float, float]
"""A number for Chinese, and one for English."""


@dataclass(frozen=True)
class Kind:
    """What one kind of tokenizer does."""

    vocab_size: int
    chinese: list[str]
    """Pieces of the Chinese sentence."""
    english: list[str]
    per_line: Pair
    """Pieces of a held-out line, the mean."""
    unknown: Pair
    """Share of these pieces that are unknown."""
    odd: str
    """What comes back of the odd text."""


@dataclass(frozen=True)
class Tokens:
    """What was measured."""

    kinds: dict[str, Kind]
    exact: float
    """Share of held-out lines that byte_bpe gives back as they were."""
    rare: int
    """Pieces that byte_bpe needs for a character that it has never seen."""
    sizes: list[int]
    by_size: list[Pair]
    """Pieces of a held-out line by byte_bpe, for each size of the vocabulary."""


def run(
    *, vocab_size: int = 1000, lines: int = 2000, sizes: tuple[int, ...] = (300, 600, 1000, 2000, 4000), seed: int = 0
) -> Tokens:
    """Trains each kind on ``lines`` sentences in both languages, and measures on others."""
    pairs = list(demo_pairs(lines + HELD_OUT, seed))
    text = [line for pair in pairs[:lines] for line in pair]
    held_out = pairs[lines:]
    table = {word for line in text for word in line.split()}
    kinds = {
        "words": look(len(table), lambda line: [word if word in table else UNK for word in line.split()], held_out)
    }
    for kind in get_args(TokenizerKind):
        tokenizer = Tokenizer.train(text, TokenizerConfig(kind=kind, vocab_size=vocab_size))
        kinds[kind] = look_at(tokenizer, held_out)
        if kind == "byte_bpe":
            rare = len(tokenizer.encode(RARE))
            exact = [tokenizer.decode(tokenizer.encode(line)) == line for pair in held_out for line in pair]
    trained = [Tokenizer.train(text, TokenizerConfig(vocab_size=size)) for size in sizes]
    by_size = [look_at(tokenizer, held_out).per_line for tokenizer in trained]
    return Tokens(kinds, sum(exact) / len(exact), rare, list(sizes), by_size)


def look_at(tokenizer: Tokenizer, held_out: Sequence[tuple[str, str]]) -> Kind:
    """Measures a tokenizer."""
    pieces = look(tokenizer.vocab_size, lambda line: tokenizer.pieces(tokenizer.encode(line)), held_out)
    return replace(pieces, odd=tokenizer.decode(tokenizer.encode(ODD)))


def look(vocab_size: int, cut: Callable[[str], list[str]], held_out: Sequence[tuple[str, str]]) -> Kind:
    """Measures what ``cut`` makes of lines."""
    languages = [[cut(line) for line in lines] for lines in zip(*held_out, strict=True)]
    counts = [sum(map(len, pieces)) for pieces in languages]
    unknown = [sum(line.count(UNK) for line in pieces) for pieces in languages]
    per_line = (counts[0] / len(held_out), counts[1] / len(held_out))
    shares = (unknown[0] / counts[0], unknown[1] / counts[1])
    chinese, english, odd = map(cut, (*SHOWCASE[0], ODD))
    return Kind(vocab_size, chinese, english, per_line, shares, " ".join(odd).replace(UNK, LOST))


def check(measured: Tokens) -> Claims:
    """Returns whether each sentence of the answer holds."""
    kinds = measured.kinds
    words, characters, of_bytes, wordpiece = (kinds[kind] for kind in ("words", "char", "byte_bpe", "wordpiece"))
    others = [kind.odd for name, kind in kinds.items() if name != "byte_bpe"]
    few, many = (measured.by_size[measured.sizes.index(end(measured.sizes))] for end in (min, max))
    return {
        "words": words.per_line[0] < 1.01 and words.unknown[0] > 0.8 and words.unknown[1] < 0.25,
        "between": words.per_line[1] < of_bytes.per_line[1] < 0.7 * characters.per_line[1],
        "size": all(small < 0.9 * large for small, large in zip(many, few, strict=True)),
        "exact": of_bytes.odd == ODD and measured.exact == 1 and max(of_bytes.unknown) == 0,
        "bytes": 1 < measured.rare <= len(RARE.encode()) and "我" in of_bytes.chinese,
        "lost": all(LOST in odd and RARE not in odd for odd in others),
        "rules": wordpiece.odd == f"a {LOST} {LOST} {LOST}" and kinds["bpe"].odd == f"a na{LOST}ve {LOST}  {LOST}",
    }


def facts(measured: Tokens) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    words, characters, of_bytes = (measured.kinds[kind] for kind in ("words", "char", "byte_bpe"))
    few, many = (end(measured.sizes) for end in (min, max))
    return {
        "guess": f"{words.unknown[0]:.0%}",
        "words_zh": f"{words.unknown[0]:.0%}",
        "words_en": f"{words.unknown[1]:.0%}",
        "pieces": f"{of_bytes.per_line[1]:.1f}",
        "words": f"{words.per_line[1]:.1f}",
        "characters": f"{characters.per_line[1]:.1f}",
        "few": str(few),
        "many": str(many),
        "few_zh": f"{measured.by_size[measured.sizes.index(few)][0]:.1f}",
        "many_zh": f"{measured.by_size[measured.sizes.index(many)][0]:.1f}",
        "rare": str(measured.rare),
        "exact": f"{measured.exact:.0%}",
    }


def show(measured: Tokens, say: Say) -> list[Part]:
    """Returns the sentence cut by each kind, what a line takes, what comes back, and curves over the vocabulary."""
    kinds = measured.kinds.items()
    cut = [(name, " ".join(kind.chinese), " ".join(kind.english)) for name, kind in kinds]
    sizes = [(name, str(kind.vocab_size), *(f"{n:.1f}" for n in kind.per_line), kind.odd) for name, kind in kinds]
    columns = (say("kind"), f">{say('vocab')}", f">{say('chinese')}", f">{say('english')}", say("odd"))
    lines = {say(name): [pair[at] for pair in measured.by_size] for at, name in enumerate(("chinese", "english"))}
    return [
        Table(say("cut"), (say("kind"), say("chinese"), say("english")), cut),
        Table(say("table").format(odd=ODD), columns, sizes),
        Curves(say("curve"), say("vocab"), [float(size) for size in measured.sizes], lines),
    ]
