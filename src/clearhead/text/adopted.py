"""A tokenizer that came with a model: Hugging Face's ``tokenizer.json``, checked first, or the files of Marian."""

import base64
import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tokenizers as hf

from clearhead.text.pipeline import BYTE_CHARS, SPACE, bytes_of
from clearhead.text.pipeline import PATTERNS as OUR_PATTERNS
from clearhead.text.sentencepiece import read_sentencepiece
from clearhead.text.special import ABSENT, SpecialIds

# Parts that are built. Anything else is refused: the library panics on some hostile files, and a pattern of theirs may
# take for ever on a text. What stands behind the pieces (post_processor) is never used.
KNOWN = {
    "normalizer": "Sequence BertNormalizer Lowercase NFC NFD NFKC NFKD StripAccents Replace Prepend Strip",
    "pre_tokenizer": "Sequence ByteLevel BertPreTokenizer Whitespace WhitespaceSplit Metaspace Split Digits "
    "Punctuation",
    "model": "BPE WordPiece Unigram WordLevel",
    "decoder": "Sequence ByteLevel WordPiece Metaspace Replace ByteFallback Fuse Strip BPEDecoder",
}
_CONTRACTIONS, _MARKS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = frozenset(
    [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_MARKS}",  # Llama 3
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_MARKS}",  # Qwen 2
        r" {2,}",
        *OUR_PATTERNS,
    ]
)
_BYTE, _BYTE_CHARS = re.compile(r"<0x([0-9A-F]{2})>"), frozenset(BYTE_CHARS)
ROWS = 1 << 22  # ids above this are no vocabulary's


class Built(NamedTuple):
    """What a tokenizer is made of."""

    pipeline: hf.Tokenizer
    pieces: list[str]  # in order of id
    spellings: list[bytes]  # what each piece adds to a text, where the decoder reads bytes; else none at all
    special: frozenset[int]  # ids that add nothing to a text
    strips: bool  # whether a space in front of a text is not part of it
    numbers: dict[str, int] | None = None  # ids of what the pipeline cuts, where they are not its own


@dataclasses.dataclass(frozen=True)
class Adopted:
    """Another tokenizer as its file says it, and what its model calls special."""

    content: str
    """The ``tokenizer.json``."""
    ids: SpecialIds
    begin: int
    """What the model reads before the first piece of a text."""
    begins: bool
    """Whether it stands before every text, as the file's own template says."""
    vocab_size: int
    """Rows of the model's table: at least the ids of the file; rows beyond them have no piece."""
    segmenter: str = ""
    """A SentencePiece model in base64, in place of ``content``: it cuts a text, and ``numbers`` says the ids."""
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    """Marian's ``vocab.json``: ids of the pieces of both languages; all others are unknown."""

    @functools.cached_property
    def _tree(self) -> dict[str, Any]:
        tree = json.loads(self.content)
        if not isinstance(tree, dict):
            raise ValueError("tokenizer.json is not a table")
        return tree

    def build(self) -> Built:
        """Checks the file and builds what it says.

        Raises:
            ValueError: a part is not among those that are known, or the file is damaged.
        """
        if self.segmenter:
            return self._build_marian()
        _check_parts(self._tree)
        try:
            pipeline = hf.Tokenizer.from_str(self.content)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the library's panics are no Exception
            raise ValueError(f"tokenizer.json cannot be read: {str(error)[:200]}") from error
        pipeline.no_truncation()
        pipeline.no_padding()
        pipeline.encode_special_tokens = True  # text that spells a special piece is text
        vocabulary = pipeline.get_vocab(with_added_tokens=True)
        if (most := max(vocabulary.values(), default=-1)) >= min(self.vocab_size, ROWS):
            raise ValueError(f"tokenizer.json has id {most}, the model's table has {self.vocab_size} rows")
        pieces = [f"<no piece {index}>" for index in range(self.vocab_size)]
        for piece, index in vocabulary.items():
            pieces[index] = piece
        added = self._tree.get("added_tokens") or []
        special = {token["id"] for token in added if token.get("special")} | {*dataclasses.astuple(self.ids)}
        special |= set(range(self.vocab_size)) - set(vocabulary.values())
        found = {str(part.get("type")) for part in _parts(self._tree.get("decoder"), "decoder")}
        spelled = [_spelled(piece, found) for piece in pieces] if found & {"ByteLevel", "ByteFallback"} else []
        for index in special - {ABSENT} if spelled else ():
            spelled[index] = b""
        for token in added if spelled else ():
            spelled[token["id"]] = b"" if token["id"] in special else token["content"].encode()
        return Built(pipeline, pieces, spelled, frozenset(special - {ABSENT}), strips="Strip" in found)

    def _build_marian(self) -> Built:
        if max(self.numbers.values(), default=-1) >= min(self.vocab_size, ROWS) or min(self.numbers.values()) < 0:
            raise ValueError(f"vocab.json has ids outside the model's table of {self.vocab_size} rows")
        pieces = [f"<no piece {index}>" for index in range(self.vocab_size)]
        for piece, index in self.numbers.items():
            pieces[index] = piece
        special = {one for one in dataclasses.astuple(self.ids) if one != ABSENT}
        special |= set(range(self.vocab_size)) - set(self.numbers.values())
        spelled = [b"" if at in special else one.replace(SPACE, " ").encode() for at, one in enumerate(pieces)]
        pipeline = read_sentencepiece(base64.b64decode(self.segmenter)).build()
        return Built(pipeline, pieces, spelled, frozenset(special), strips=True, numbers=self.numbers)


def _spelled(piece: str, decoder: set[str]) -> bytes:
    """Returns the bytes of a piece, which a decoder of theirs joins and reads as UTF-8.

    Theirs makes U+FFFD of every byte in a run that is not UTF-8; read as bytes, what is right in it stays.
    """
    if "ByteLevel" in decoder:
        return bytes_of(piece) if _BYTE_CHARS.issuperset(piece) else piece.encode()
    if byte := _BYTE.fullmatch(piece):
        return bytes.fromhex(byte[1])
    return piece.replace(SPACE, " ").encode()


def _check_parts(tree: dict[str, Any]) -> None:
    for room, names in KNOWN.items():
        for part in _parts(tree.get(room), room):
            if (kind := part.get("type")) not in names.split():
                raise ValueError(f"tokenizer.json: {room} {kind!r} is not one of {', '.join(names.split())}")
            pattern = part.get("pattern")
            found = pattern.get("Regex") if isinstance(pattern, dict) else None
            if found is not None and found not in PATTERNS:
                raise ValueError(f"tokenizer.json: {room} has a pattern that is not known to be safe: {found[:80]!r}")


def _parts(part: Any, room: str) -> Iterator[dict[str, Any]]:
    """Yields a part of the file and what it is made of."""
    if part is None and room != "model":
        return
    if not isinstance(part, dict):
        raise ValueError(f"tokenizer.json: {room} is not a table")
    yield part
    for inner in part.get({"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}.get(room, "decoders")) or []:
        yield from _parts(inner, room)
