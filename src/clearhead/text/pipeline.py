"""Builds and trains the Hugging Face ``tokenizers`` pipeline of each kind, for ``text.tokenizer``."""

import codecs
import dataclasses
import functools
import json
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import tokenizers as hf
from tokenizers import models, pre_tokenizers, trainers

from clearhead.text.normalize import HAN, KANA, UNSPACED, WIDE_PUNCTUATION
from clearhead.text.special import SPECIAL_IDS

TokenizerKind = Literal["char", "byte_bpe", "bpe", "wordpiece", "unigram"]
WordRule = Literal["clearhead", "gpt2"]
SPACE, CONTINUATION = "▁", "##"

# Words of byte_bpe: GPT-2's rule, but combining marks count as letters, and an apostrophe inside a word is part of
# it. So CJK punctuation is a word of its own, and a clause is a word. Pieces per line of Tatoeba's Chinese test with
# a vocabulary of 4000 | 8000: 6.92 | 6.14; by GPT-4's rule 6.89 | 6.11 (a comma sticks to the next clause);
# without words 6.43 | 5.58 (pieces cross sentence ends). English at 4000: 8.07, by GPT-2's rule 8.32.
_BYTE_WORDS = r" ?[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
_CHARACTER, _IDEOGRAPH, _WIDE_MARK = r"[\s\S]", f"[{HAN}{KANA}]", f"[{WIDE_PUNCTUATION}]"
NO_SPACE = (  # spaces that joining the words of a wordpiece text takes away again
    f"(?<=[{UNSPACED}]) | (?=[{UNSPACED}])"  # beside CJK
    r"| (?=[.,!?;:%)\]}…’”])|(?<=[(\[{‘“]) "  # before marks, inside brackets
    r"|(?<=\w) (?=['’\-] \w)|(?<=\w ['’\-]) (?=\w)"  # don't, well-known
)
NO_PREFIX = f"^{CONTINUATION}"  # of a text that begins inside of a word
OWN_PATTERNS = (_BYTE_WORDS, _CHARACTER, _IDEOGRAPH, _WIDE_MARK, NO_SPACE, NO_PREFIX)
"""All patterns by which the pipelines built here cut and join text; safe on any text."""


def _byte_chars() -> list[str]:
    """Returns the printable character that stands for each byte (Radford et al. 2019, GPT-2)."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 256 + hidden.index(byte)) for byte in range(256)]


BYTE_CHARS = _byte_chars()
_BYTE_OF = {char: byte for byte, char in enumerate(BYTE_CHARS)}


def piece_bytes(piece: str) -> bytes:
    """Returns the bytes that a piece of ``BYTE_CHARS`` stands for; raises KeyError for any other character."""
    return bytes(_BYTE_OF[char] for char in piece)


@dataclasses.dataclass(frozen=True)
class Learned:
    """The pieces that training found, with the merges or scores that a kind needs."""

    pieces: list[str]  # in order of id, without the special ones
    merges: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # in order of rank: byte_bpe, bpe
    scores: list[float] = dataclasses.field(default_factory=list)  # log-probability of each piece: unigram

    def check(self, kind: TokenizerKind) -> None:
        """Raises ValueError if no pipeline of ``kind`` can be built from this; the library itself might panic."""
        known, text = set(self.pieces), "".join(self.pieces)
        text.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, a ValueError
        if len(known) != len(self.pieces) or any(" " in piece or not piece for piece in known - {" "}):
            raise ValueError("pieces must be distinct, not empty and without spaces")
        if kind == "byte_bpe" and not set(text) == set(BYTE_CHARS) <= known:
            raise ValueError("pieces must be made of bytes, and each byte be one")
        if not all({left, right, left + right} <= known for left, right in self.merges):
            raise ValueError("merges must be of pieces")
        if kind == "unigram" and not (len(self.scores) == len(known) and all(map(math.isfinite, self.scores))):
            raise ValueError("there must be one finite score a piece")


def build(
    kind: TokenizerKind, learned: Learned, specials: Sequence[str], words: WordRule = "clearhead"
) -> hf.Tokenizer:
    """Builds the pipeline, never from a file of the library's, in which a hostile pattern could crash the process."""
    hidden = _hidden(specials)
    ids = {piece: index for index, piece in enumerate([*hidden, *learned.pieces])}
    unk = hidden[SPECIAL_IDS.unk]
    model: models.Model
    match kind:
        case "char":
            model = models.WordLevel(vocab=ids, unk_token=unk)
        case "byte_bpe":
            model = models.BPE(vocab=ids, merges=learned.merges)
        case "bpe":
            model = models.BPE(vocab=ids, merges=learned.merges, unk_token=unk)
        case "wordpiece":
            model = models.WordPiece(vocab=ids, unk_token=unk, max_input_chars_per_word=100)
        case "unigram":
            scores = [0.0] * len(hidden) + learned.scores
            model = models.Unigram(list(zip(ids, scores, strict=True)), unk_id=SPECIAL_IDS.unk, byte_fallback=False)
    pipeline = hf.Tokenizer(model)
    pipeline.pre_tokenizer = _words(kind, words)
    return pipeline


def learn(
    lines: Iterable[str],
    kind: TokenizerKind,
    *,
    specials: Sequence[str],
    vocab_size: int,
    min_frequency: int,
    words: WordRule = "clearhead",
) -> Learned:
    """Learns pieces from normalized lines. Except in byte_bpe, a character below ``min_frequency`` gets no piece."""
    hidden = _hidden(specials)
    fit = functools.partial(_fit, kind=kind, hidden=hidden, size=vocab_size, least=min_frequency, rule=words)
    if kind == "byte_bpe":
        return fit(lines, alphabet=BYTE_CHARS)
    # A generator yields its lines once, but the alphabet is needed first: the library would break ties at random.
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as spool:
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(line)
            if kind != "char":
                spool.write(line + "\n")
        alphabet = _alphabet(counts, kind, vocab_size - len(specials), min_frequency)
        if kind == "char" or not alphabet:
            return Learned(alphabet)
        spool.seek(0)
        # all other characters become spaces, so that no piece spans them
        blank = dict.fromkeys(map(ord, counts.keys() - set(alphabet)), " ")
        known_text = (line.rstrip("\n").translate(blank) for line in spool)
        return fit(known_text, alphabet=alphabet)


def _hidden(specials: Sequence[str]) -> list[str]:
    """Returns the special pieces as they are in the library's model: with a space in front.

    No rule of ``_words`` gives the model a space followed by something else, so text that spells "</s>" never becomes
    the special piece.
    """
    return [" " + name for name in specials]


def _alphabet(counts: Counter[str], kind: TokenizerKind, room: int, min_frequency: int) -> list[str]:
    """Returns the characters that get a piece, most frequent first, ties in code order."""
    alphabet = sorted((char for char, n in counts.items() if n >= min_frequency), key=lambda c: (-counts[c], c))
    if kind == "char":
        return alphabet[:room]
    alphabet = [char for char in alphabet if not char.isspace()][: room - 1]  # one piece is for the space
    while kind == "wordpiece" and (excess := len(alphabet) + len(_continuations(alphabet)) - room) > 0:
        del alphabet[-(excess + 1) // 2 :]
    return alphabet


def _continuations(alphabet: list[str]) -> list[str]:
    """Returns the ``##`` pieces of the characters that can stand inside a word."""
    words = _words("wordpiece")
    return [CONTINUATION + char for char in alphabet if len(words.pre_tokenize_str("a" + char)) == 1]


def _fit(
    lines: Iterable[str],
    *,
    kind: TokenizerKind,
    hidden: list[str],
    size: int,
    least: int,
    rule: WordRule,
    alphabet: list[str],
) -> Learned:
    """Trains the library's model on ``lines``; ``least`` is the minimal frequency, ``rule`` that of the words."""
    sizes: dict[str, Any] = {"vocab_size": size, "min_frequency": least, "show_progress": False}
    model: models.Model = models.BPE()
    trainer: trainers.Trainer
    if kind == "unigram":
        model, unk = models.Unigram(), hidden[SPECIAL_IDS.unk]
        del sizes["min_frequency"]
        trainer = trainers.UnigramTrainer(special_tokens=hidden, unk_token=unk, **sizes)
    elif kind == "wordpiece":
        model = models.WordPiece()
        # the ## characters come first; else the library numbers them at random, and breaks ties by number
        first = [*hidden, *_continuations(alphabet)]
        trainer = trainers.WordPieceTrainer(special_tokens=first, initial_alphabet=alphabet, **sizes)
    else:
        trainer = trainers.BpeTrainer(special_tokens=hidden, initial_alphabet=alphabet, **sizes)
    pipeline = hf.Tokenizer(model)
    pipeline.pre_tokenizer = _words(kind, rule)
    pipeline.train_from_iterator(lines, trainer)
    tree = json.loads(pipeline.to_str())["model"]
    if kind != "unigram":
        pieces = sorted(tree["vocab"], key=tree["vocab"].__getitem__)
        return Learned(pieces[len(hidden) :], [(left, right) for left, right in tree.get("merges", [])])
    # the library may return more than ``size``: keep all single characters, then the most probable pieces
    ranked = sorted(tree["vocab"][len(hidden) :], key=lambda item: (len(item[0]) > 1, -item[1], item[0]))
    best = ranked[: size - len(hidden)]
    return Learned([piece for piece, _ in best], scores=[float(score) for _, score in best])


def _words(kind: TokenizerKind, rule: WordRule = "clearhead") -> pre_tokenizers.PreTokenizer:
    """Returns the rule that cuts text into words; no piece crosses their borders. ``rule`` is that of byte_bpe."""
    if rule == "gpt2":  # the library has it: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    match kind:
        case "char":
            return pre_tokenizers.Split(hf.Regex(_CHARACTER), "isolated")
        case "byte_bpe":
            cut: pre_tokenizers.PreTokenizer = pre_tokenizers.Split(hf.Regex(_BYTE_WORDS), "isolated")
            last: pre_tokenizers.PreTokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        case "wordpiece":
            cut = pre_tokenizers.Split(hf.Regex(_IDEOGRAPH), "isolated")
            last = pre_tokenizers.BertPreTokenizer()
        case "bpe" | "unigram":
            # at spaces only, so that Moses' "&apos;s" stays whole; and around CJK marks, since no space precedes them
            cut = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never")
            last = pre_tokenizers.Split(hf.Regex(_WIDE_MARK), "isolated")
    return pre_tokenizers.Sequence([cut, last])


# The library's threads do not survive a fork: a data worker would hang or warn. So forked processes use none.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))


_NO_SPACE = re.compile(NO_SPACE)


def join_words(pieces: list[str]) -> str:
    """Returns the text of WordPiece's pieces: no space before a continuation, nor where the language has none."""
    words = "".join(f" {piece}" for piece in pieces).replace(" " + CONTINUATION, "").removeprefix(" ")
    return _NO_SPACE.sub("", words)


def readable(data: bytes) -> str:
    """Returns what a piece spells, for display: a space as ``▁``, parts of characters and control codes as hex."""
    text = data.decode("utf-8", "clearhead.hex").replace(" ", SPACE)
    return "".join(character if character.isprintable() else _hex(character.encode()) for character in text)


def _hex(data: bytes) -> str:
    return "".join(f"<0x{byte:02X}>" for byte in data)


def _show_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _hex(error.object[error.start : error.end]), error.end


codecs.register_error("clearhead.hex", _show_bytes)
