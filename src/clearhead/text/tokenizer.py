"""The tokenizer: trained on the user's text, saved as one JSON file, text to ids and back."""

import codecs
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt

from clearhead.config import parse
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.text.bpe_dropout import BpeDropout
from clearhead.text.normalize import UNSPACED, Normalization, normalize
from clearhead.text.pipeline import BYTE_CHARS, CONTINUATION, SPACE, Kind, Learned, build, train
from clearhead.text.special import SPECIAL_IDS, SPECIALS, SpecialIds

_FIRST = len(SPECIALS)
_LOST = "\ufffd"


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """How a tokenizer is made."""

    kind: Kind = "byte_bpe"
    """byte_bpe spells every text; the others are described at ``Tokenizer``."""
    vocab_size: Annotated[int, Ge(8)] = 8000
    """Pieces at most, the four special ones included; a small corpus gives fewer."""
    joint: bool = True
    """One vocabulary for both languages of a pair."""
    normalization: Normalization = "none"
    """none, nfc, nfkc or halfwidth; applied to all text before anything else."""
    lowercase: bool = False
    """Lower-case all text."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """BPE-dropout: probability that a merge is left out, in training only."""
    min_frequency: Annotated[int, Ge(1)] = 2
    """How often a pair (and, except in byte_bpe, a character) must occur to get a piece."""

    def __post_init__(self) -> None:
        if self.dropout and self.kind not in ("byte_bpe", "bpe"):
            raise ValueError(f"dropout = {self.dropout}: kind must be byte_bpe or bpe for BPE-dropout, not {self.kind}")
        if self.kind == "byte_bpe" and self.vocab_size < _FIRST + len(BYTE_CHARS):
            raise ValueError(f"vocab_size = {self.vocab_size}: byte_bpe needs 260 for the bytes and special pieces")

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


class Tokenizer:
    """Text to ids and back; comes from ``train`` or ``load``, may be pickled and used in forked workers.

    Kinds, and what ``decode(encode(text))`` gives back of ``config.normalize(text)``:

    - ``byte_bpe``: everything, exactly. There is no unknown piece.
    - ``char``: everything but unknown characters.
    - ``bpe``: the same, but a ``▁`` of the text comes back as a space. Words are cut at spaces only (and
      around CJK punctuation), as suits pre-tokenized text.
    - ``unigram``: as ``bpe``; unknown characters in a row are one. Training is **not deterministic** in the
      Hugging Face library: two runs on one text differ a little. All other kinds repeat themselves exactly.
    - ``wordpiece``: words cut as BERT does, at white space, punctuation and around each Chinese character;
      white space comes back by rule. A word is unknown as a whole, for one character or for length over 100.

    The unknown piece decodes to U+FFFD, the other special pieces to nothing. Text that spells a special piece
    (``</s>``) is text. ``encode`` adds no special pieces. All that take text raise DataError for a lone
    surrogate, all that take ids for one outside the vocabulary.
    """

    def __init__(self, config: TokenizerConfig, learned: Learned):
        """Builds the tokenizer from what training found; ValueError if the two do not fit."""
        learned.check(config.kind)
        self.config, self._learned = config, learned
        self._pipeline = build(config.kind, learned)
        self._pieces = [*SPECIALS, *learned.pieces]
        self._dropout: BpeDropout | None = None
        if config.kind in ("byte_bpe", "bpe"):
            ids = {piece: index for index, piece in enumerate(learned.pieces, _FIRST)}
            self._dropout = BpeDropout(ids, learned.merges, p=config.dropout, unk=SPECIAL_IDS.unk)
        self._bytes: list[bytes] = []
        if config.kind == "byte_bpe":
            of_char = {char: byte for byte, char in enumerate(BYTE_CHARS)}
            self._bytes = [b"", b"", b"", _LOST.encode()]
            self._bytes += [bytes(of_char[char] for char in piece) for piece in learned.pieces]

    @classmethod
    def train(cls, lines: Iterable[str], config: TokenizerConfig) -> "Tokenizer":
        """Learns from ``lines``, which are read once, so that a generator will do.

        Raises:
            DataError: there is no text, or a line holds a lone surrogate (says which line).
        """
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

        learned = train(prepared(), config.kind, config.vocab_size, config.min_frequency)
        if not seen:
            raise DataError("there is no text to train the tokenizer on: no lines, or all of them empty")
        return cls(config, learned)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads what ``save`` wrote. Raises ModelError for a missing, damaged or foreign file."""
        try:
            return _restore(Path(path).read_bytes())
        except OSError as error:
            raise ModelError(f"tokenizer {str(path)!r} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError, UsageError) as error:
            raise ModelError(f"tokenizer {str(path)!r} is damaged or none of ours: {str(error)[:200]}") from error

    def save(self, path: str | Path) -> None:
        """Writes all of it as one JSON file. Raises ModelError if that fails."""
        try:
            Path(path).write_bytes(self._content())
        except OSError as error:
            raise ModelError(f"tokenizer {str(path)!r} cannot be written: {error.strerror}") from error

    @property
    def vocab_size(self) -> int:
        """How many pieces there are, with the special ones; at most ``config.vocab_size``."""
        return len(self._pieces)

    @property
    def ids(self) -> SpecialIds:
        """The ids of the special pieces."""
        return SPECIAL_IDS

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the saved file, in hexadecimal."""
        return hashlib.sha256(self._content()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Returns the ids of ``text``; none for empty text."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, faster than one by one."""
        prepared = [_prepare(text, self.config) for text in texts]
        return [found.ids for found in self._pipeline.encode_batch_fast(prepared, add_special_tokens=False)]

    def encode_with_dropout(self, text: str, rng: np.random.Generator) -> list[int]:
        """Returns a random segmentation by BPE-dropout, of the same text; at dropout 0 as ``encode``.

        ``rng`` gives one number, whatever the text. Raises UsageError if the kind has no merges.
        """
        if self._dropout is None:
            raise UsageError(f"BPE-dropout needs a tokenizer of kind byte_bpe or bpe, this one is {self.config.kind}")
        words = self._pipeline.pre_tokenizer.pre_tokenize_str(_prepare(text, self.config))
        return self._dropout.encode([word for word, _ in words], int(rng.integers(1 << 62)))

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ``ids``; what is not UTF-8 in them becomes U+FFFD."""
        checked = self._check(ids)
        if self._bytes:
            return b"".join([self._bytes[i] for i in checked]).decode("utf-8", "replace")
        shown = [_LOST if i == SPECIAL_IDS.unk else self._pieces[i] for i in checked if i >= SPECIAL_IDS.unk]
        if self.config.kind == "wordpiece":
            return _join_words(shown)
        text = "".join(shown)
        return text if self.config.kind == "char" else text.replace(SPACE, " ").removeprefix(" ")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Returns the pieces to read: a space is ``▁``, parts of characters and control codes ``<0xE6>``."""
        return [self._readable(i) for i in self._check(ids)]

    def count_unknown(self, ids: Iterable[int]) -> int:
        """Returns how many of ``ids`` are the unknown piece."""
        return sum(i == SPECIAL_IDS.unk for i in ids)

    def _readable(self, index: int) -> str:
        text = self._pieces[index]
        if self._bytes and index >= _FIRST:
            text = self._bytes[index].decode("utf-8", "clearhead.hex")
        return "".join(c if c.isprintable() else _hex(c.encode()) for c in text.replace(" ", SPACE))

    def _check(self, ids: Iterable[int]) -> list[int]:
        checked = [int(i) for i in ids]
        if checked and not 0 <= min(checked) <= max(checked) < self.vocab_size:
            wrong = min(checked) if min(checked) < 0 else max(checked)
            raise DataError(f"id {wrong} is outside the vocabulary, 0 to {self.vocab_size - 1}")
        return checked

    def _content(self) -> bytes:
        saved = _Saved("clearhead-tokenizer", 1, self.config, self._learned)
        return json.dumps(dataclasses.asdict(saved), ensure_ascii=False, separators=(",", ":")).encode()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._content(),)


def _restore(content: bytes) -> Tokenizer:
    tree = json.loads(content.decode("utf-8"))
    if not isinstance(tree, dict):
        raise ValueError("it is not a JSON object")
    saved = parse(_Saved, tree, source="its content")
    return Tokenizer(saved.config, saved.learned)


def _prepare(text: str, config: TokenizerConfig) -> str:
    text = config.normalize(text)
    # the space in front makes a word the same piece wherever it stands; decode takes exactly one away
    return f" {text}" if text and config.kind in ("bpe", "unigram") else text


_NO_SPACE = re.compile(
    f"(?<=[{UNSPACED}]) | (?=[{UNSPACED}])"  # beside CJK
    r"| (?=[.,!?;:%)\]}…’”])|(?<=[(\[{‘“]) "  # before marks, inside brackets
    r"|(?<=\w) (?=['’\-] \w)|(?<=\w ['’\-]) (?=\w)"  # don't, well-known
)


def _join_words(pieces: list[str]) -> str:
    words = "".join(f" {piece}" for piece in pieces).replace(" " + CONTINUATION, "").removeprefix(" ")
    return _NO_SPACE.sub("", words)


def _hex(data: bytes) -> str:
    return "".join(f"<0x{byte:02X}>" for byte in data)


def _show_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _hex(error.object[error.start : error.end]), error.end


codecs.register_error("clearhead.hex", _show_bytes)
