"""Our tokenizers as llama.cpp reads them: which of its models gives the same ids, or why none does.

| our kind | their model | what differs |
|---|---|---|
| byte_bpe | gpt2 | words are cut by GPT-2's rule, which divides ``don't``; ids are equal where the texts have none |
| bpe | llama | a piece's score is minus the rank of the merge that makes it |
| char | llama | scores of 0 |
| wordpiece | bert | it always lower-cases, so a tokenizer that does not is refused |
| adopted | gpt2, bert | if its file says what GPT-2's or an uncased BERT's does |

A ``llama`` vocabulary must have a piece for each byte, or an unknown character ends the process; ours gets 256 more,
whose rows are those of the unknown piece.
"""

from dataclasses import dataclass, field
from typing import get_args

from clearhead.errors import ModelError
from clearhead.interop.spelling import Rules, demand
from clearhead.text.adopted import Adopted
from clearhead.text.pipeline import CONTINUATION, SPACE, Learned
from clearhead.text.special import ABSENT, Specials
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # types of pieces in ``llama_token_type``
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


_ADOPTED: dict[str, Rules] = {  # what a tokenizer.json must say to be read as these models read
    "gpt2": {
        "normalizer.type": (None,),
        "pre_tokenizer.type": ("ByteLevel",),
        "pre_tokenizer.add_prefix_space": (False,),
        "pre_tokenizer.use_regex": (True,),
        "model.type": ("BPE",),
        "model.dropout": (None,),
        "model.byte_fallback": (False, None),
        "model.ignore_merges": (False, None),
    },
    "bert": {
        "normalizer.type": ("BertNormalizer",),
        "normalizer.clean_text": (True,),
        "normalizer.handle_chinese_chars": (True,),
        "normalizer.strip_accents": (None, True),
        "normalizer.lowercase": (True,),
        "pre_tokenizer.type": ("BertPreTokenizer",),
        "model.type": ("WordPiece",),
        "model.continuing_subword_prefix": (CONTINUATION,),
    },
}


@dataclass(frozen=True)
class Vocabulary:
    """What GGUF's keys ``tokenizer.ggml.*`` hold."""

    model: str
    pre: str
    pieces: list[str]
    """In order of id; of a ``llama`` model more than ours, by 256."""
    types: list[int]
    unk: int
    """Id of the unknown piece, if there is one."""
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    settings: dict[str, int | bool] = field(default_factory=dict)


def check_vocabulary(config: TokenizerConfig) -> None:
    """Raises ModelError, with the key, if no model of llama.cpp reads text as a tokenizer of ``config`` does."""
    if config.kind == "adopted":
        return  # its file decides
    words = config.kind == "wordpiece"  # which llama.cpp always lower-cases
    rules: Rules = {
        "kind": ("byte_bpe", "bpe", "char", "wordpiece", "adopted"),
        "normalization": ("none",),
        "lowercase": (words,),
        "specials": ("masked",) if words else get_args(Specials),
    }
    demand(vars(config), rules, "GGUF: tokenizer.")


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Returns the vocabulary with which llama.cpp gives our ids.

    Raises:
        ModelError: none of its models reads text as ``tokenizer`` does; the message names the key.
    """
    config, source, ids = tokenizer.config, tokenizer.source, tokenizer.ids
    check_vocabulary(config)
    pieces = [tokenizer.piece(index) for index in range(tokenizer.vocab_size)]
    types = [
        UNKNOWN if index == ids.unk else CONTROL if index in tokenizer.special else NORMAL
        for index in range(len(pieces))
    ]
    settings: dict[str, int | bool] = {
        f"{role}_token_id": index
        for role, index in (("bos", tokenizer.begin), ("eos", ids.eos), ("unknown", ids.unk), ("padding", ids.pad))
        if index != ABSENT
    }
    settings |= {"add_bos_token": False, "add_eos_token": False}
    match _adopted_model(source) if isinstance(source, Adopted) else config.kind:
        case "byte_bpe" | "gpt2":
            merges = [f"{left} {right}" for left, right in _merges(source)]
            return Vocabulary("gpt2", "gpt-2", pieces, types, ids.unk, merges=merges, settings=settings)
        case "wordpiece" | "bert":
            marks: dict[str, int | bool] = {
                "bos_token_id": ids.cls,
                "eos_token_id": ids.sep,
                "seperator_token_id": ids.sep,  # their spelling
                "cls_token_id": ids.cls,
                "mask_token_id": ids.mask,
                "token_type_count": 2,
            }
            spelled = [_word(piece) if kind == NORMAL else piece for piece, kind in zip(pieces, types, strict=True)]
            more = {**settings, **marks, "add_bos_token": True, "add_eos_token": True}
            return Vocabulary("bert", "default", spelled, types, ids.unk, settings=more)
        case _:  # bpe and char
            ranks = {left + right: rank for rank, (left, right) in reversed(list(enumerate(_merges(source))))}
            spelled = [
                piece.replace(" ", SPACE) if kind == NORMAL else piece
                for piece, kind in zip(pieces, types, strict=True)
            ]
            scores = [-float(ranks.get(piece, 0)) for piece in pieces] + [0.0] * len(_BYTES)
            settings["add_space_prefix"] = config.kind == "bpe"
            return Vocabulary(
                "llama", "default", spelled + _BYTES, types + [BYTE] * len(_BYTES), ids.unk, scores, settings=settings
            )


def _adopted_model(source: Adopted) -> str:
    """Returns the model of llama.cpp that reads as an adopted tokenizer does; raises ModelError if there is none."""
    if source.segmenter:
        raise ModelError("GGUF: a tokenizer of Marian's files has no model in llama.cpp")
    flat = {
        f"{part}.{name}": value
        for part in ("normalizer", "pre_tokenizer", "model")
        for name, value in (source.tree.get(part) or {}).items()
    }
    model = "bert" if flat.get("model.type") == "WordPiece" else "gpt2"
    demand({name: flat.get(name) for name in _ADOPTED[model]}, _ADOPTED[model], "GGUF: tokenizer.json: ")
    return model


def _merges(source: Learned | Adopted) -> list[tuple[str, str]]:
    """Returns the pairs of pieces that are joined, the first first."""
    if not isinstance(source, Adopted):
        return source.merges
    merges = source.tree["model"]["merges"]  # "a b" until 2024, ["a", "b"] since
    return [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]


def _word(piece: str) -> str:
    """A piece that begins a word has U+2581 in front there, one that continues a word nothing."""
    return piece.removeprefix(CONTINUATION) if piece.startswith(CONTINUATION) else SPACE + piece
