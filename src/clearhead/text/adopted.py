"""A tokenizer that comes with a model: Hugging Face's ``tokenizer.json``, checked before use, or Marian's files."""

import base64
import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tokenizers as hf

from clearhead.brief import Brief
from clearhead.ranges import Id, Vocabulary
from clearhead.text.pipeline import BYTE_CHARS, OWN_PATTERNS, SPACE, piece_bytes
from clearhead.text.sentencepiece import read_sentencepiece
from clearhead.text.special import ABSENT, SpecialIds

# The parts that are accepted. Anything else is refused: the library panics on some hostile files, and a hostile pattern
# may run for ever on a text. The post_processor, which adds marks to a text, is never used.
KNOWN_PARTS = {
    "normalizer": "Sequence BertNormalizer Lowercase NFC NFD NFKC NFKD StripAccents Replace Prepend Strip",
    "pre_tokenizer": "Sequence ByteLevel BertPreTokenizer Whitespace WhitespaceSplit Metaspace Split Digits "
    "Punctuation",
    "model": "BPE WordPiece Unigram WordLevel",
    "decoder": "Sequence ByteLevel WordPiece Metaspace Replace ByteFallback Fuse Strip BPEDecoder",
}
_CONTRACTIONS, _MARKS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SAFE_PATTERNS = frozenset(
    [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_MARKS}",  # Llama 3
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_MARKS}",  # Qwen 2
        r" {2,}",
        *OWN_PATTERNS,
    ]
)
_BYTE, _BYTE_CHARS = re.compile(r"<0x([0-9A-F]{2})>"), frozenset(BYTE_CHARS)
MOST_ROWS = 1 << 22  # files with larger ids are refused
MOST_GROWTH = 64  # times that the replacements of a file, one after the other, may make a text longer
MOST_ADDED = 256  # characters that a part may add to a text or a piece
_ADDED = ("prepend", "prefix", "suffix", "content", "continuing_subword_prefix", "end_of_word_suffix", "unk_token")


class Built(NamedTuple):
    """A tokenizer, built from its file."""

    pipeline: hf.Tokenizer
    pieces: list[str]  # in order of id
    spellings: list[bytes]  # the bytes that each piece adds to a text; empty unless the decoder joins bytes
    special: frozenset[int]  # ids that add nothing to a text
    strips: bool  # whether decoding removes a space in front of the text
    numbers: dict[str, int] | None = None  # id of each piece, if the pipeline's own ids are not used


@dataclasses.dataclass(frozen=True)
class Adopted(Brief):
    """The file of a tokenizer from elsewhere, and the special ids of its model."""

    content: str
    """The ``tokenizer.json``."""
    ids: SpecialIds
    begin: Id
    """The id that the model reads before the first piece of a text."""
    begins: bool
    """Whether ``begin`` stands before every text, as the template in the file says."""
    vocab_size: Vocabulary
    """Rows of the model's embedding table. There may be more rows than the file has ids; they have no piece."""
    segmenter: str = ""
    """A SentencePiece model in base64, instead of ``content``: it cuts a text, and ``numbers`` gives the ids."""
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    """Marian's ``vocab.json``: the ids of the pieces of both languages; all other pieces are unknown."""
    splits: bool = True
    """Whether the name of a special piece in a text is ordinary text, as in tokenizers trained here; else it is that
    piece, as ``AutoTokenizer`` reads it unless the folder's ``split_special_tokens`` says otherwise."""
    ends: tuple[Id, ...] = ()
    """Further ids that end a text."""

    @functools.cached_property
    def tree(self) -> dict[str, Any]:
        """The parts of ``content``, checked; raises ValueError for one that is not in ``KNOWN_PARTS``."""
        return _checked_table(self.content)

    def build(self) -> Built:
        """Checks the file and builds the tokenizer it describes.

        Raises:
            ValueError: the file has a part that is not in ``KNOWN_PARTS``, or is damaged.
        """
        if self.segmenter:
            return self._build_marian()
        tree = self.tree
        try:
            pipeline = hf.Tokenizer.from_str(self.content)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the library is not an Exception
            raise ValueError(f"tokenizer.json cannot be read: {str(error)[:200]}") from error
        pipeline.no_truncation()
        pipeline.no_padding()
        pipeline.encode_special_tokens = self.splits
        vocabulary = pipeline.get_vocab(with_added_tokens=True)
        if (largest := max(vocabulary.values(), default=-1)) >= min(self.vocab_size, MOST_ROWS):
            raise ValueError(f"tokenizer.json has id {largest}, the model's table has {self.vocab_size} rows")
        pieces = [f"<no piece {index}>" for index in range(self.vocab_size)]
        for piece, index in vocabulary.items():
            pieces[index] = piece
        added = tree.get("added_tokens") or []
        special = {token["id"] for token in added if token.get("special")} | {*dataclasses.astuple(self.ids)}
        special |= set(range(self.vocab_size)) - set(vocabulary.values())
        special.discard(ABSENT)
        decoders = {str(part.get("type")) for part in _parts(tree.get("decoder"), "decoder")}
        spellings: list[bytes] = []
        if decoders & {"ByteLevel", "ByteFallback"}:
            spellings = [_spelling(piece, decoders) for piece in pieces]
            for token in added:
                spellings[token["id"]] = token["content"].encode()
            for index in special:
                spellings[index] = b""
        return Built(pipeline, pieces, spellings, frozenset(special), strips="Strip" in decoders)

    def _build_marian(self) -> Built:
        if max(self.numbers.values(), default=-1) >= min(self.vocab_size, MOST_ROWS) or min(self.numbers.values()) < 0:
            raise ValueError(f"vocab.json has ids outside the model's table of {self.vocab_size} rows")
        pieces = [f"<no piece {index}>" for index in range(self.vocab_size)]
        for piece, index in self.numbers.items():
            pieces[index] = piece
        special = {index for index in dataclasses.astuple(self.ids) if index != ABSENT}
        special |= set(range(self.vocab_size)) - set(self.numbers.values())
        spellings = [b"" if at in special else piece.replace(SPACE, " ").encode() for at, piece in enumerate(pieces)]
        pipeline = read_sentencepiece(base64.b64decode(self.segmenter)).build()
        return Built(pipeline, pieces, spellings, frozenset(special), strips=True, numbers=self.numbers)


def _spelling(piece: str, decoders: set[str]) -> bytes:
    """Returns the bytes that a piece adds to a text.

    The library's own decoders turn every byte of a run that is not valid UTF-8 into U+FFFD; decoding the joined bytes
    keeps the valid characters of such a run.
    """
    if "ByteLevel" in decoders:
        return piece_bytes(piece) if _BYTE_CHARS.issuperset(piece) else piece.encode()
    if byte := _BYTE.fullmatch(piece):
        return bytes.fromhex(byte[1])
    return piece.replace(SPACE, " ").encode()


def check_file(content: str) -> None:
    """Raises ValueError if a ``tokenizer.json`` has a part that is not known to be safe, or is no JSON table."""
    _checked_table(content)


def _checked_table(content: str) -> dict[str, Any]:
    try:
        tree = json.loads(content)
        if not isinstance(tree, dict):
            raise ValueError("tokenizer.json is not a table")
        _check_parts(tree)
    except RecursionError as error:
        raise ValueError("tokenizer.json is nested too deeply") from error
    return tree


def _check_parts(tree: dict[str, Any]) -> None:
    for room, names in KNOWN_PARTS.items():
        for part in _parts(tree.get(room), room):
            if (kind := part.get("type")) not in names.split():
                raise ValueError(f"tokenizer.json: {room} {kind!r} is not one of {', '.join(names.split())}")
            pattern = part.get("pattern")
            regex = pattern.get("Regex") if isinstance(pattern, dict) else None
            if regex is not None and regex not in SAFE_PATTERNS:
                raise ValueError(f"tokenizer.json: {room} has a pattern that is not known to be safe: {regex[:80]!r}")
        _check_growth(tree, room)


def _check_growth(tree: dict[str, Any], room: str) -> None:
    """Checks that a text cannot become many times longer: a rule replaces what the rule before it has made."""
    growth = 1.0
    for part in _parts(tree.get(room), room):
        added = [part[name] for name in _ADDED if isinstance(part.get(name), str)]
        if any(len(text) > MOST_ADDED for text in added):
            raise ValueError(f"tokenizer.json: {room} adds more than {MOST_ADDED} characters at a time")
        if part.get("type") == "Replace":
            pattern = part.get("pattern")
            shortest = len(str(pattern["String"])) if isinstance(pattern, dict) and "String" in pattern else 1
            if not shortest:
                raise ValueError(f"tokenizer.json: {room} replaces nothing by something, everywhere")
            growth *= max(1.0, len(str(part.get("content"))) / shortest)
    if growth > MOST_GROWTH:
        raise ValueError(f"tokenizer.json: {room} may make a text {growth:.3g} times longer, more than {MOST_GROWTH}")


def _parts(part: Any, room: str) -> Iterator[dict[str, Any]]:
    """Yields a part of the file and all parts inside it."""
    if part is None and room != "model":
        return
    if not isinstance(part, dict):
        raise ValueError(f"tokenizer.json: {room} is not a table")
    yield part
    for inner in part.get({"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}.get(room, "decoders")) or []:
        yield from _parts(inner, room)
