"""The tokenizer: trained on the user's text, saved as one JSON file, text to ids and back."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clearhead.config import parse, rebuilt
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.files import MOST_OF_TEXT, read_small, write_whole
from clearhead.ranges import Count, LearnedPieces, Rate
from clearhead.text.adopted import Adopted
from clearhead.text.bpe_dropout import BpeDropout
from clearhead.text.characters import Characters, characters_of
from clearhead.text.normalize import Normalization, normalize
from clearhead.text.pipeline import (
    BYTE_CHARS,
    CONTINUATION,
    SPACE,
    Learned,
    TokenizerKind,
    WordRule,
    build,
    join_words,
    learn,
    piece_bytes,
    readable,
)
from clearhead.text.special import SpecialIds, Specials, numbered, specials_of

_LOST = "\ufffd"


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """How a tokenizer is made."""

    kind: TokenizerKind | Literal["adopted"] = "byte_bpe"
    """byte_bpe spells every text; ``Tokenizer`` describes the others. ``adopted`` comes with a model from elsewhere."""
    vocab_size: LearnedPieces = 8000
    """Maximum number of pieces, special ones included; a small corpus gives fewer."""
    specials: Specials = "sequence"
    """Special pieces: padding, begin, end and unknown; ``masked`` also has [CLS], [SEP] and [MASK]."""
    joint: bool = True
    """Uses one vocabulary for both languages of a pair."""
    normalization: Normalization = "none"
    """Applied to all text before anything else."""
    lowercase: bool = False
    """Lower-cases all text."""
    words: WordRule = "clearhead"
    """How byte_bpe cuts text into words: clearhead keeps don't whole; gpt2 is GPT-2's rule, which llama.cpp follows."""
    dropout: Rate = 0.0
    """BPE-dropout: probability that a merge is left out; in training only."""
    min_frequency: Count = 2
    """How often a pair (and, except in byte_bpe, a character) must occur to get a piece."""
    tags: tuple[str, ...] = ()
    """Languages that a translator writes, each with a piece of its own; ``data.corpora`` says them, leave it out."""
    marks: tuple[str, ...] = ()
    """Kinds of text that have a piece before their sources; the ``tag`` of ``data.corpora`` says them, leave it out."""

    def __post_init__(self) -> None:
        if self.dropout and self.kind not in ("byte_bpe", "bpe"):
            raise ValueError(f"dropout = {self.dropout}: kind must be byte_bpe or bpe for BPE-dropout, not {self.kind}")
        if self.words != "clearhead" and self.kind != "byte_bpe":
            raise ValueError(f"words = {self.words!r}: kind must be byte_bpe, not {self.kind}")
        least = len(specials_of(self.specials, self.tags, self.marks)[0]) + len(BYTE_CHARS)
        if self.kind == "byte_bpe" and self.vocab_size < least:
            size = self.vocab_size
            raise ValueError(f"vocab_size = {size}: byte_bpe needs {least} for the bytes and special pieces")

    def normalize(self, text: str) -> str:
        """Returns ``text`` as the tokenizer sees it. Raises DataError for a lone surrogate."""
        text = normalize(text, self.normalization)
        return text.lower() if self.lowercase else text


@dataclasses.dataclass(frozen=True)
class _Saved:
    format: Literal["clearhead-tokenizer"]
    version: Literal[1]
    config: TokenizerConfig
    learned: Learned
    adopted: Adopted | None = None


class Tokenizer:
    """Text to ids and back; made by ``train``, ``load`` or ``adopt``. Can be pickled, and used in forked workers.

    The kinds, and how much of ``config.normalize(text)`` survives ``decode(encode(text))``:

    - ``byte_bpe``: everything, exactly. There is no unknown piece.
    - ``char``: everything but unknown characters.
    - ``bpe``: the same, but a ``▁`` in the text becomes a space. Words are cut at spaces only (and around
      CJK punctuation), as suits pre-tokenized text.
    - ``unigram``: as ``bpe``; adjacent unknown characters become one. Training is **not deterministic** in the
      Hugging Face library: two runs on one text differ a little. All other kinds are.
    - ``wordpiece``: words cut as BERT does, at white space, punctuation and around each Chinese character; white space
      is restored by rule. A word with an unknown character, or of more than 100 characters, is unknown as a whole.
    - ``adopted``: the tokenizer of a model from elsewhere, with its ids; as much as its own decoder restores.

    The unknown piece decodes to U+FFFD, the other special pieces to nothing. Text that spells a special piece
    (``</s>``) is text, except where an adopted tokenizer's folder says otherwise. ``encode`` adds no special pieces.
    Methods that take text raise DataError for a lone surrogate, methods that take ids for an id outside the vocabulary.
    """

    def __init__(self, config: TokenizerConfig, source: Learned | Adopted):
        """Builds the tokenizer from learned pieces or an adopted one; raises ValueError if the config does not fit."""
        self.config, self.source = config, source
        self._bytes: list[bytes] = []
        """The bytes that each piece adds to a text, if pieces are bytes; else empty."""
        self.special: frozenset[int]
        """Ids that add nothing to a text: those of the special pieces, and rows of the table that have no piece."""
        self._strips = False
        self._shown = functools.cache(self._readable)
        self._dropout: BpeDropout | None = None
        self._numbers: dict[str, int] | None = None
        """Id of each piece, if the pipeline's own ids are not used."""
        if isinstance(source, Adopted):
            self._pipeline, self._pieces, self._bytes, self.special, self._strips, self._numbers = source.build()
            self._ids = source.ids
            return
        if config.kind == "adopted":
            raise ValueError("kind is adopted, but no adopted tokenizer is given")
        source.check(config.kind)
        specials, self._ids = specials_of(config.specials, config.tags, config.marks)
        self.special = frozenset(range(len(specials)))
        self._pipeline = build(config.kind, source, specials, config.words)
        self._pieces = [*specials, *source.pieces]
        if config.kind in ("byte_bpe", "bpe"):
            ids = {piece: index for index, piece in enumerate(source.pieces, len(specials))}
            self._dropout = BpeDropout(ids, source.merges, p=config.dropout, unk=self._ids.unk)
        if config.kind == "byte_bpe":
            self._bytes = [_LOST.encode() if index == self._ids.unk else b"" for index in sorted(self.special)]
            self._bytes += [piece_bytes(piece) for piece in source.pieces]

    @classmethod
    def train(cls, lines: Iterable[str], config: TokenizerConfig) -> "Tokenizer":
        """Learns from ``lines``, which are read once, so that a generator will do.

        Raises:
            DataError: there is no text, or a line has a lone surrogate (the message says which line).
            UsageError: the kind is ``adopted``.
        """
        if config.kind == "adopted":
            raise UsageError("tokenizer.kind = 'adopted': comes with a model from elsewhere, it cannot be trained")
        seen = False

        def prepared() -> Iterator[str]:
            nonlocal seen
            for number, line in enumerate(lines, 1):
                try:
                    text = _prepare(line, config)
                except DataError as error:
                    raise DataError(f"line {number}: {error}") from error
                seen = seen or bool(text)
                yield text

        sizes: Any = {"vocab_size": config.vocab_size, "min_frequency": config.min_frequency, "words": config.words}
        specials = specials_of(config.specials, config.tags, config.marks)[0]
        learned = learn(prepared(), config.kind, specials=specials, **sizes)
        if not seen:
            raise DataError("there is no text to train the tokenizer on: no lines, or all of them empty")
        return cls(config, learned)

    @classmethod
    def adopt(cls, adopted: Adopted) -> "Tokenizer":
        """Builds the tokenizer of a model from elsewhere.

        Raises:
            ModelError: its file has parts that are not known to be safe, or is damaged.
        """
        try:
            return cls(TokenizerConfig(kind="adopted", vocab_size=max(8, adopted.vocab_size)), adopted)
        except ValueError as error:
            raise ModelError(str(error)) from error

    def with_dropout(self, share: float) -> "Tokenizer":
        """Returns this tokenizer with another BPE-dropout; raises ValueError if its kind has no merges."""
        return Tokenizer(dataclasses.replace(self.config, dropout=share), self.source)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads what ``save`` wrote. Raises ModelError for a missing, damaged or foreign file."""
        try:
            return _restore(read_small(Path(path), MOST_OF_TEXT))
        except OSError as error:
            raise ModelError(f"tokenizer {str(path)!r} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError, UsageError) as error:
            raise ModelError(
                f"tokenizer {str(path)!r} is damaged, or not written by clearhead: {str(error)[:200]}"
            ) from error

    @classmethod
    def restored(cls, content: bytes) -> "Tokenizer":
        """Builds the tokenizer that gave ``content``, which is known to be whole: see ``rebuilt``."""
        return _built(rebuilt(_Saved, json.loads(content)))

    def save(self, path: str | Path) -> None:
        """Writes the tokenizer as one JSON file. Raises ModelError if that fails."""
        try:
            write_whole(Path(path), self.content())
        except OSError as error:
            raise ModelError(f"tokenizer {str(path)!r} cannot be written: {error.strerror}") from error

    @property
    def vocab_size(self) -> int:
        """Number of pieces, special ones included; at most ``config.vocab_size``."""
        return len(self._pieces)

    def size(self) -> str:
        """Returns the number of pieces as text; if the corpus gave fewer than configured, says so."""
        most = self.config.vocab_size
        more = f" (of {most:,} asked for: the text gives no more)" if self.vocab_size < most else ""
        return f"{self.vocab_size:,} pieces{more}"

    @property
    def ids(self) -> SpecialIds:
        """The ids of the special pieces."""
        return self._ids

    @property
    def tags(self) -> dict[str, int]:
        """The ids of the pieces that say the language of a translation."""
        return numbered(self.config.tags, self.config.specials)

    @property
    def marks(self) -> dict[str, int]:
        """The ids of the pieces that say what kind of text a source is."""
        return numbered(self.config.marks, self.config.specials, self.config.tags)

    @property
    def begin(self) -> int:
        """The id that a language model reads before the first piece: the end mark, or that of an adopted tokenizer."""
        return self.source.begin if isinstance(self.source, Adopted) else self._ids.eos

    @property
    def begins(self) -> bool:
        """Whether ``begin`` stands before every text; only adopted tokenizers may require it."""
        return isinstance(self.source, Adopted) and self.source.begins

    @property
    def ends(self) -> tuple[int, ...]:
        """Further ids that end a text, besides the end mark; only adopted tokenizers have some."""
        return self.source.ends if isinstance(self.source, Adopted) else ()

    @property
    def splits(self) -> bool:
        """Whether ``encode`` reads the name of a special piece as text; only adopted tokenizers may read the piece."""
        return not isinstance(self.source, Adopted) or self.source.splits

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the saved file, in hexadecimal."""
        return hashlib.sha256(self.content()).hexdigest()

    @functools.cached_property
    def characters(self) -> Characters | None:
        """Which pieces may follow which, so that characters are whole; None if no piece is a part of a character."""
        return characters_of([self.spelling(index) for index in range(self.vocab_size)]) if self._bytes else None

    def encode(self, text: str) -> list[int]:
        """Returns the ids of ``text``; an empty list for empty text."""
        return self.encode_batch([text])[0] if text else []

    def encode_batch(self, texts: Sequence[str], *, inside: bool = False) -> list[list[int]]:
        """Returns the ids of each text, faster than one by one; with ``inside`` only a space begins a new word."""
        prepared = [self.config.normalize(text) if inside else _prepare(text, self.config) for text in texts]
        if self._numbers is None:
            return [encoding.ids for encoding in self._pipeline.encode_batch_fast(prepared, add_special_tokens=False)]
        encoded = self._pipeline.encode_batch(prepared, add_special_tokens=False)  # the fast method gives no tokens
        return [[self._numbers.get(piece, self._ids.unk) for piece in encoding.tokens] for encoding in encoded]

    def encode_with_dropout(self, text: str, rng: np.random.Generator) -> list[int]:
        """Returns a random segmentation of ``text`` by BPE-dropout; with dropout 0 the same as ``encode``.

        Takes one number from ``rng``, whatever the text. Raises UsageError if the kind has no merges.
        """
        if self._dropout is None:
            raise UsageError(f"BPE-dropout needs a tokenizer of kind byte_bpe or bpe, this one is {self.config.kind}")
        words = self._pipeline.pre_tokenizer.pre_tokenize_str(_prepare(text, self.config))
        return self._dropout.encode([word for word, _ in words], int(rng.integers(1 << 62)))

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ``ids``; bytes that are not valid UTF-8 become U+FFFD."""
        checked = self._check(ids)
        if self._bytes:
            text = b"".join([self._bytes[i] for i in checked]).decode("utf-8", "replace")
            return text.removeprefix(" ") if self._strips else text
        if self.config.kind == "adopted":
            return str(self._pipeline.decode(checked, skip_special_tokens=True))
        unk = self._ids.unk
        shown = [_LOST if i == unk else self._pieces[i] for i in checked if i == unk or i not in self.special]
        if self.config.kind == "wordpiece":
            return join_words(shown)
        text = "".join(shown)
        return text if self.config.kind == "char" else text.replace(SPACE, " ").removeprefix(" ")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Returns the pieces for display: a space as ``▁``, parts of characters and control codes as ``<0xE6>``."""
        return [self._shown(i) for i in self._check(ids)]

    def piece(self, index: int) -> str:
        """Returns a piece as it is in the vocabulary; use ``pieces`` for display."""
        return self._pieces[self._check([index])[0]]

    def count_unknown(self, ids: Iterable[int]) -> int:
        """Returns how many of ``ids`` are the unknown piece."""
        return sum(i == self._ids.unk for i in ids)

    def border(self, ids: Sequence[int], at: int, *, later: bool = False) -> int:
        """Returns where ``ids`` can be cut near ``at`` so that no character is cut: before it, or ``later``."""
        place = at
        while 0 < place < len(ids) and self.spelling(ids[place])[:1] in _CONTINUING:
            place += 1 if later else -1
        return place if 0 < place < len(ids) else at

    def spelling(self, index: int) -> bytes:
        """Returns the bytes that a piece adds to a text, a leading space included; none for special pieces."""
        if index in self.special:
            return b""
        if self._bytes:
            return self._bytes[index]
        piece = self._pieces[index]
        match self.config.kind:
            case "char":
                return piece.encode()
            case "bpe" | "unigram":
                return piece.replace(SPACE, " ").encode()
            case "wordpiece":
                return (piece.removeprefix(CONTINUATION) if piece.startswith(CONTINUATION) else f" {piece}").encode()
        # decode it after another piece: the decoder may remove a space in front of the text
        first = self._pipeline.decode([index], skip_special_tokens=True)
        twice = self._pipeline.decode([index, index], skip_special_tokens=True)
        return str(twice).removeprefix(first).encode()

    def _readable(self, index: int) -> str:
        own = self._bytes and index not in self.special
        return readable(self._bytes[index] if own else self._pieces[index].encode())

    def _check(self, ids: Iterable[int]) -> list[int]:
        checked = [*map(int, ids)]
        if checked and not 0 <= min(checked) <= max(checked) < self.vocab_size:
            wrong = min(checked) if min(checked) < 0 else max(checked)
            raise DataError(f"id {wrong} is outside the vocabulary, 0 to {self.vocab_size - 1}")
        return checked

    def content(self) -> bytes:
        """Returns the JSON file that ``save`` writes."""
        adopted = self.source if isinstance(self.source, Adopted) else None
        learned = Learned([]) if isinstance(self.source, Adopted) else self.source
        tree = dataclasses.asdict(_Saved("clearhead-tokenizer", 1, self.config, learned, adopted))
        # keys at their default are left out: files and fingerprints stay as they were before the key existed
        if adopted is None:
            del tree["adopted"]
        elif not adopted.segmenter:
            del tree["adopted"]["segmenter"], tree["adopted"]["numbers"]
        defaults: list[tuple[str, str, object]] = [("config", "specials", "sequence"), ("config", "words", "clearhead")]
        defaults += [
            ("config", "tags", ()),
            ("config", "marks", ()),
            ("adopted", "splits", True),
            ("adopted", "ends", ()),
        ]
        for part, key, default in defaults:
            if tree.get(part, {}).get(key) == default:
                del tree[part][key]
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()

    def __repr__(self) -> str:
        return f"Tokenizer({self.config.kind!r}, {self.vocab_size:,} pieces)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.content(),)


def _restore(content: bytes) -> Tokenizer:
    tree = json.loads(content.decode("utf-8"))
    if not isinstance(tree, dict):
        raise ValueError("it is not a JSON object")
    return _built(parse(_Saved, tree, source="its content"))


def _built(saved: _Saved) -> Tokenizer:
    return Tokenizer(saved.config, saved.adopted or saved.learned)


def _prepare(text: str, config: TokenizerConfig) -> str:
    text = config.normalize(text)
    # with a space in front, a word is the same piece everywhere; decode removes exactly one space
    return f" {text}" if text and config.kind in ("bpe", "unigram") else text


_CONTINUING = frozenset(bytes([value]) for value in range(0x80, 0xC0))
"""What the bytes of a character begin with after its first one."""
