"""Tokenizers of Hugging Face folders: theirs adopted, ours written down for them."""

import json
from pathlib import Path
from typing import Any, Literal

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.files import read_json
from clearhead.text.adopted import Adopted
from clearhead.text.normalize import HALF_WIDTH
from clearhead.text.pipeline import SPACE, build
from clearhead.text.special import ABSENT, SpecialIds, specials_of
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

FILE, SETTINGS, NAMES = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
ROLES = ("pad", "bos", "eos", "unk", "cls", "sep", "mask")
Template = Literal["plain", "begin", "end", "segments"]
"""What stands around a text there: nothing, an end mark before or behind it, or ``[CLS] A [SEP] B [SEP]``."""
# what the first BERTs' files leave to the class of their tokenizer
BERT_NAMES = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}


def read_tokenizer(folder: Path, config: Tree, vocab_size: int) -> Tokenizer:
    """Adopts the tokenizer of a folder: ``tokenizer.json``, or what older ones have in its place.

    Args:
        folder: of a model.
        config: its ``config.json``, which may name ids that the tokenizer's files do not.
        vocab_size: rows of the model's table.

    Raises:
        ModelError: there is none, it has parts that are not known, or it does not fit the model.
    """
    settings: Tree = dict(BERT_NAMES) if config.get("model_type") == "bert" else {}
    for name in (NAMES, SETTINGS):
        settings |= read_json(folder / name) if (folder / name).is_file() else {}
    content = _content(folder, settings)
    blank = Adopted(content, SpecialIds(*[ABSENT] * len(ROLES)), begin=0, begins=False, vocab_size=vocab_size)
    try:
        pipeline = blank.build().pipeline
    except ValueError as error:
        raise ModelError(f"{str(folder)!r}: {error}") from error
    found = {role: _id_of(role, settings, config, pipeline) for role in ROLES}
    found["eos"] = next((found[role] for role in ("eos", "sep", "bos") if found[role] != ABSENT), ABSENT)
    for role in ("pad", "bos"):  # one piece for two roles is the end mark: it is a piece of texts, and is trained
        found[role] = ABSENT if found[role] == found["eos"] else found[role]
    before = _before(pipeline)
    begin = next((one for one in (*before[:1], found["bos"], found["eos"]) if one != ABSENT), 0)
    return Tokenizer.adopt(Adopted(content, SpecialIds(**found), begin, bool(before), vocab_size))


def write_tokenizer(tokenizer: Tokenizer, *, template: Template) -> dict[str, str]:
    """Returns the files that make Hugging Face's fast tokenizer give the same ids, by name.

    Args:
        tokenizer: ours, or one that was adopted, which is written as it came.
        template: what its model reads around a text; ours of several documents learn an end mark before it.
    """
    if isinstance(tokenizer.source, Adopted):
        content, names = tokenizer.source.content, _names(tokenizer)
    else:
        pieces, _ = specials_of(tokenizer.config.specials)
        content, names = _written(tokenizer, pieces, template), _names(tokenizer)
    settings: Tree = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    if template == "segments":
        settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    # text that spells a special piece is text, unless a model is asked for what a mask in it hides
    settings["split_special_tokens"] = template != "segments"
    return {FILE: content, SETTINGS: json.dumps(settings, ensure_ascii=False, indent=2) + "\n"}


def _names(tokenizer: Tokenizer) -> dict[str, str]:
    ids = {role: getattr(tokenizer.ids, role) for role in ROLES}
    hidden = " " if tokenizer.config.kind == "unigram" else ""
    return {f"{role}_token": hidden + tokenizer.piece(index) for role, index in ids.items() if index != ABSENT}


def _content(folder: Path, settings: Tree) -> str:
    """Returns the ``tokenizer.json`` of a folder, made of older files where there is none."""
    try:
        if (folder / FILE).is_file():
            return (folder / FILE).read_text(encoding="utf-8")
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            model: Any = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
            pipeline = hf.Tokenizer(model)
            pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")))
            pipeline.decoder = decoders.ByteLevel()
        elif (folder / "vocab.txt").is_file():
            lower = bool(settings.get("do_lower_case", True))
            model = models.WordPiece.from_file(str(folder / "vocab.txt"), unk_token=_name("unk", settings) or "[UNK]")
            pipeline = hf.Tokenizer(model)
            pipeline.normalizer = normalizers.BertNormalizer(
                lowercase=lower, strip_accents=settings.get("strip_accents")
            )
            pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            pipeline.decoder = decoders.WordPiece()
        else:
            raise ModelError(
                f"{str(folder)!r} has no tokenizer: {FILE}, vocab.json with merges.txt, or vocab.txt is needed"
            )
    except ModelError:
        raise
    except Exception as error:  # of the library, which has no class of its own for them
        raise ModelError(f"{str(folder)!r}: the tokenizer's files cannot be read: {error}") from error
    named = {name for role in ROLES if (name := _name(role, settings)) and pipeline.token_to_id(name) is not None}
    pipeline.add_special_tokens(sorted(named))
    return str(pipeline.to_str())


def _name(role: str, settings: Tree) -> str | None:
    """Returns the name of a special piece, which is a string or a table with one."""
    name = settings.get(f"{role}_token")
    name = name.get("content") if isinstance(name, dict) else name
    return name if isinstance(name, str) else None


def _id_of(role: str, settings: Tree, config: Tree, pipeline: hf.Tokenizer) -> int:
    name = _name(role, settings)
    if name is not None and (index := pipeline.token_to_id(name)) is not None:
        return int(index)
    said = config.get(f"{role}_token_id")
    first = said[0] if isinstance(said, list) and said else said
    return first if type(first) is int and first >= 0 and pipeline.id_to_token(first) is not None else ABSENT


def _before(pipeline: hf.Tokenizer) -> list[int]:
    """Returns the ids that the tokenizer's template puts in front of a text."""
    plain, full = (pipeline.encode("a", add_special_tokens=added).ids for added in (False, True))
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return list(full[:start])
    return []


def _written(tokenizer: Tokenizer, specials: tuple[str, ...], template: Template) -> str:
    """Writes a tokenizer of ours as a ``tokenizer.json`` that gives the same ids."""
    config, source = tokenizer.config, tokenizer.source
    assert not isinstance(source, Adopted)
    assert config.kind != "adopted"
    pipeline = build(config.kind, source, specials)
    pipeline.normalizer = normalizers.Sequence(_normalizers(config))
    match config.kind:
        case "byte_bpe":
            pipeline.decoder = decoders.ByteLevel()
        case "char":
            pipeline.decoder = decoders.Fuse()
        case "wordpiece":
            pipeline.decoder = decoders.WordPiece()
        case "bpe" | "unigram":
            parts = [decoders.Replace(SPACE, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
            pipeline.decoder = decoders.Sequence(parts)
    tree = json.loads(pipeline.to_str())
    if config.kind == "unigram":  # it would find the piece "</s>" in a text, so they keep the names that no text has
        specials = tuple(" " + name for name in specials)
    else:
        _show(tree["model"], specials)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tree["added_tokens"] = [{"id": index, "content": name, **flags} for index, name in enumerate(specials)]
    if tokenizer.ids.mask != ABSENT:  # a space before it belongs to it, as to a piece that begins a word
        tree["added_tokens"][tokenizer.ids.mask]["lstrip"] = config.kind != "char"
    if around := _around(tokenizer, specials, template):
        tree["post_processor"] = json.loads(around.__getstate__())
    return json.dumps(tree, ensure_ascii=False)


def _around(tokenizer: Tokenizer, specials: tuple[str, ...], template: Template) -> Any:
    """Returns what puts special pieces around a text, None where there are none."""
    if template == "plain":
        return None
    if template == "begin":
        mark = specials[tokenizer.begin]
        return processors.TemplateProcessing(single=[mark, "$A"], special_tokens=[(mark, tokenizer.begin)])
    if template == "end":
        mark = specials[tokenizer.ids.eos]
        return processors.TemplateProcessing(single=["$A", mark], special_tokens=[(mark, tokenizer.ids.eos)])
    cls, sep = tokenizer.ids.cls, tokenizer.ids.sep
    first, last = specials[cls], specials[sep]
    return processors.TemplateProcessing(
        single=[f"{first}:0", "$A:0", f"{last}:0"],  # a list: unigram hides their names behind a space
        pair=[f"{first}:0", "$A:0", f"{last}:0", "$B:1", f"{last}:1"],
        special_tokens=[(first, cls), (last, sep)],
    )


def _normalizers(config: TokenizerConfig) -> list[Any]:
    """What our tokenizer does to a text before it is cut."""
    found: list[Any] = []
    match config.normalization:
        case "nfc":
            found.append(normalizers.NFC())
        case "nfkc":
            found.append(normalizers.NFKC())
        case "halfwidth":
            found += [normalizers.Replace(chr(wide), half) for wide, half in HALF_WIDTH.items()]
    if config.lowercase:
        found.append(normalizers.Lowercase())
    if config.kind in ("bpe", "unigram"):
        found.append(normalizers.Prepend(" "))
    return found


def _show(model: Tree, specials: tuple[str, ...]) -> None:
    """Names the special pieces as they are, not as ``build`` hides them."""
    hidden = {" " + name: name for name in specials}
    model["vocab"] = {hidden.get(piece, piece): index for piece, index in model["vocab"].items()}
    if model.get("unk_token"):
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
