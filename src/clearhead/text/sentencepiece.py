"""SentencePiece models (.spm): read without its library, and built with ``tokenizers`` if that cuts text alike."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tokenizers as hf
from tokenizers import models, normalizers

from clearhead.text.pipeline import SPACE

MOST_REPLACEMENT = 256  # bytes
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of pieces in the file format


@dataclass(frozen=True)
class SentencePiece:
    """The contents of a model file that decide how a text is cut."""

    pieces: list[tuple[str, float, int]]
    """Piece, log-probability, type."""
    unk_id: int
    charsmap: bytes
    """The compiled rules of normalization; empty changes nothing."""
    rules: dict[str, int]
    """Settings of the file that must have the values in ``RULES``."""

    def build(self) -> hf.Tokenizer:
        """Returns the pipeline; its ids are indices of ``pieces``, its tokens the pieces of the text.

        Raises:
            ValueError: ``tokenizers`` would cut text differently from this model; the message says why.
        """
        for name, (default, _, wanted) in RULES.items():
            if self.rules.get(name, default) != wanted:
                raise ValueError(f"{name} = {self.rules.get(name, default)}: must be {wanted}")
        for piece, _, kind in self.pieces:
            if kind in (USER_DEFINED, BYTE):
                raise ValueError(f"piece {piece!r} is {'user-defined' if kind == USER_DEFINED else 'a byte'}")
        if _is_grown(self.charsmap):
            raise ValueError(f"its normalization replaces a character by more than {MOST_REPLACEMENT} bytes")
        # no text has pieces with a space in front, since spaces become SPACE before the model sees them
        scored = [(piece if kind == NORMAL else f" {piece}", score) for piece, score, kind in self.pieces]
        pipeline = hf.Tokenizer(models.Unigram(scored, unk_id=self.unk_id, byte_fallback=False))
        parts: list[Any] = [normalizers.Precompiled(self.charsmap)] if self.charsmap else []
        parts += [normalizers.Strip(), normalizers.Replace(hf.Regex(" {2,}"), " ")]
        parts += [normalizers.Replace(" ", SPACE), normalizers.Prepend(SPACE)]
        pipeline.normalizer = normalizers.Sequence(parts)
        return pipeline


def _is_grown(charsmap: bytes) -> bool:
    """Says whether a replacement in compiled rules is too long; they stand, each ended by 0, behind a table of a size.

    The rules of the SentencePiece library (nmt_nfkc and the like) have at most 33 bytes each.
    """
    size = int.from_bytes(charsmap[:4], "little")
    return max(map(len, charsmap[4 + size :].split(b"\0"))) > MOST_REPLACEMENT


# name -> default, place in the file (numbers of table and field), required value
RULES = {
    "model_type": (1, (2, 3), 1),  # unigram; 2 is BPE, for which ``tokenizers`` breaks ties differently
    "treat_whitespace_as_suffix": (0, (2, 24), 0),
    "byte_fallback": (0, (2, 35), 0),
    "add_dummy_prefix": (1, (3, 3), 1),
    "remove_extra_whitespaces": (1, (3, 4), 1),
    "escape_whitespaces": (1, (3, 5), 1),
}


def read_sentencepiece(content: bytes) -> SentencePiece:
    """Reads a model file, which is a protocol buffer.

    Raises:
        ValueError: the file is damaged or not a SentencePiece model.
    """
    try:
        return _read(content)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise ValueError("not a SentencePiece model") from error


def _read(content: bytes) -> SentencePiece:
    pieces, tables = [], dict[int, dict[int, Any]]()
    for number, value in _fields(content):
        if number == 1:
            fields = dict(_fields(value))
            (score,) = struct.unpack("<f", fields.get(2, b"\0\0\0\0"))
            pieces.append((fields[1].decode(), score, fields.get(3, NORMAL)))
        elif number in (2, 3):
            tables[number] = dict(_fields(value))
    values = {name: tables.get(table, {}).get(field) for name, (_, (table, field), _) in RULES.items()}
    unk = [index for index, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN]
    if len(unk) != 1:
        raise ValueError("not a SentencePiece model: it has not one unknown piece")
    rules = {name: value for name, value in values.items() if value is not None}
    return SentencePiece(pieces, unk[0], tables.get(3, {}).get(2, b""), rules)


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Yields number and value, an integer or bytes, of each field of a protocol buffer."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        match tag & 7:
            case 0:
                value, at = _varint(content, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(content, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"not a SentencePiece model: wire type {kind}")
        if at + size > len(content):
            raise ValueError("not a SentencePiece model: it ends too early")
        yield tag >> 3, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Returns the variable-length integer at ``at``, and the place after it."""
    value = shift = 0
    while True:
        byte = content[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("not a SentencePiece model: a number is too long")
