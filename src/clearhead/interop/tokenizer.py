"""Tokenizers of Hugging Face folders: reads theirs, and writes ours as files that their library loads."""

import json
from pathlib import Path
from typing import Any, Literal

import tokenizers as hf
from tokenizers import Regex, decoders, normalizers, processors

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.interop.generation import ends_of
from clearhead.interop.published import FILE, ROLES, SETTINGS, name_of, read_published
from clearhead.text.adopted import Adopted
from clearhead.text.normalize import HALF_WIDTH
from clearhead.text.pipeline import CONTINUATION, NO_PREFIX, NO_SPACE, SPACE, build
from clearhead.text.special import ABSENT, SpecialIds, specials_of
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

Template = Literal["plain", "begin", "end", "segments"]
"""Special pieces that their tokenizer adds to a text: none, a mark before it, a mark after it, or BERT's ``[CLS] A
[SEP] B [SEP]``."""


def read_tokenizer(folder: Path, config: Tree, vocab_size: int) -> Tokenizer:
    """Reads the tokenizer of a folder: ``tokenizer.json``, or the files that older models have instead.

    Args:
        folder: the folder of a model.
        config: its ``config.json``, which may have ids of special pieces that the tokenizer's files lack.
        vocab_size: rows of the model's table.

    Raises:
        ModelError: there is no tokenizer, it has unknown parts, or it does not fit the model.
    """
    content, settings, splits = read_published(folder, config, vocab_size)
    blank = Adopted(content, SpecialIds(*[ABSENT] * len(ROLES)), begin=0, begins=False, vocab_size=vocab_size)
    try:
        pipeline = blank.build().pipeline
    except ValueError as error:
        raise ModelError(f"{str(folder)!r}: {error}") from error
    ids = {role: _id_of(role, settings, config, pipeline) for role in ROLES}
    ends = ends_of(folder, config, vocab_size)
    ids["eos"] = next((ids[role] for role in ("eos", "sep", "bos") if ids[role] != ABSENT), ABSENT)
    if ends and ids["eos"] not in ends:  # what ends a text is what their generation says
        ids["eos"] = ends[0]
    for role in ("pad", "bos"):  # a piece with two roles is the end mark, which is part of texts and is trained
        ids[role] = ABSENT if ids[role] == ids["eos"] else ids[role]
    template_start = _template_start(pipeline)
    begin = next((index for index in (*template_start[:1], ids["bos"], ids["eos"]) if index != ABSENT), 0)
    special, further = SpecialIds(**ids), tuple(index for index in ends if index != ids["eos"])
    adopted = Adopted(content, special, begin, bool(template_start), vocab_size, splits=splits, ends=further)
    return Tokenizer.adopt(adopted)


def check_template(tokenizer: Tokenizer, template: Literal["begin", "segments"], folder: str) -> None:
    """Checks that their tokenizer puts around a text what our model of this kind reads there.

    Raises:
        ModelError: it puts another piece there, or none.
    """
    assert isinstance(tokenizer.source, Adopted)
    pipeline, ids = tokenizer.source.build().pipeline, tokenizer.ids
    plain = pipeline.encode("a", add_special_tokens=False).ids
    if template == "begin":
        full, wanted = pipeline.encode("a").ids, [tokenizer.begin] * tokenizer.begins + plain
        rule = "must put one piece before a text at most, and none behind it"
    else:
        full, wanted = pipeline.encode("a", "a").ids, [ids.cls, *plain, ids.sep, *plain, ids.sep]
        rule = "must put [CLS] before a text and [SEP] behind it and behind a second one"
    if full != wanted:
        raise ModelError(f"{folder!r}: tokenizer.json: post_processor: {rule}")


def write_tokenizer(tokenizer: Tokenizer, *, template: Template, masks: bool = False) -> dict[str, str]:
    """Returns files with which Hugging Face's fast tokenizer gives the same ids: file name -> content.

    Args:
        tokenizer: ours, or an adopted one, which is written unchanged.
        template: the special pieces that its model expects around a text; models trained on several documents expect
            an end mark before it.
        masks: whether the model reads the names of special pieces in a text as these pieces, ``[MASK]`` above all; for
            other models they are ordinary text.
    """
    splits = True
    if isinstance(tokenizer.source, Adopted):
        content, names, splits = tokenizer.source.content, _names(tokenizer), tokenizer.source.splits
    else:
        config = tokenizer.config
        pieces, _ = specials_of(config.specials, config.tags, config.marks)
        content, names = _written(tokenizer, pieces, template), _names(tokenizer)
    settings: Tree = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    segments = ["token_type_ids"] if template == "segments" else []  # theirs gives them to every model unless told
    settings["model_input_names"] = ["input_ids", *segments, "attention_mask"]
    settings["split_special_tokens"] = splits and not masks
    return {FILE: content, SETTINGS: json.dumps(settings, ensure_ascii=False, indent=2) + "\n"}


def write_tokenizers(
    source: Tokenizer, target: Tokenizer, *, template: Template, masks: bool = False
) -> dict[str, str]:
    """Returns the same for libraries that follow ``tokenizer.json`` as it stands, of one side or of both.

    Padding and a limit of length, which an adopted file may ask for, are taken out. Two vocabularies have two
    tokenizers, ``source_`` and ``target_``.
    """
    sides = {"": target} if source is target else {"source_": source, "target_": target}
    return {
        side + name: _unlimited(content) if name == FILE else content
        for side, tokenizer in sides.items()
        for name, content in write_tokenizer(tokenizer, template=template, masks=masks).items()
    }


def _unlimited(content: str) -> str:
    tree = json.loads(content)
    if tree.get("padding") is None and tree.get("truncation") is None:
        return content
    return json.dumps({**tree, "padding": None, "truncation": None}, ensure_ascii=False)


def _names(tokenizer: Tokenizer) -> dict[str, str]:
    ids = {role: getattr(tokenizer.ids, role) for role in ROLES}
    prefix = " " if tokenizer.config.kind == "unigram" else ""  # see _written
    return {f"{role}_token": prefix + tokenizer.piece(index) for role, index in ids.items() if index != ABSENT}


def _id_of(role: str, settings: Tree, config: Tree, pipeline: hf.Tokenizer) -> int:
    name = name_of(role, settings)
    if name is not None and (index := pipeline.token_to_id(name)) is not None:
        return int(index)
    index = config.get(f"{role}_token_id")
    if isinstance(index, list) and index:
        index = index[0]
    return index if type(index) is int and index >= 0 and pipeline.id_to_token(index) is not None else ABSENT


def _template_start(pipeline: hf.Tokenizer) -> list[int]:
    """Returns the ids that the tokenizer's template puts in front of a text."""
    plain, full = (pipeline.encode("a", add_special_tokens=added).ids for added in (False, True))
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return list(full[:start])
    return []


def _written(tokenizer: Tokenizer, specials: tuple[str, ...], template: Template) -> str:
    """Writes our tokenizer as a ``tokenizer.json`` that gives the same ids."""
    config, source = tokenizer.config, tokenizer.source
    assert not isinstance(source, Adopted)
    assert config.kind != "adopted"
    pipeline = build(config.kind, source, specials, config.words)
    pipeline.normalizer = normalizers.Sequence(_normalizers(config))
    match config.kind:
        case "byte_bpe":
            pipeline.decoder = decoders.ByteLevel()
        case "char":
            pipeline.decoder = decoders.Fuse()
        case "wordpiece":  # their own decoder would write don ' t
            joined = [decoders.WordPiece(CONTINUATION, cleanup=False), decoders.Fuse()]
            tidied = [decoders.Replace(Regex(pattern), "") for pattern in (NO_PREFIX, NO_SPACE)]
            pipeline.decoder = decoders.Sequence([*joined, *tidied])
        case "bpe" | "unigram":
            parts = [decoders.Replace(SPACE, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
            pipeline.decoder = decoders.Sequence(parts)
    tree = json.loads(pipeline.to_str())
    if config.kind == "unigram":  # it would cut the piece "</s>" out of a text, so it keeps names that start with " "
        specials = tuple(" " + name for name in specials)
    else:
        _restore_names(tree["model"], specials)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tree["added_tokens"] = [{"id": index, "content": name, **flags} for index, name in enumerate(specials)]
    if tokenizer.ids.mask != ABSENT:  # the mask takes the space before it, as a piece at the start of a word does
        tree["added_tokens"][tokenizer.ids.mask]["lstrip"] = config.kind != "char"
    if post_processor := _post_processor(tokenizer, specials, template):
        tree["post_processor"] = json.loads(post_processor.__getstate__())
    return json.dumps(tree, ensure_ascii=False)


def _post_processor(tokenizer: Tokenizer, specials: tuple[str, ...], template: Template) -> Any:
    """Returns the part of a tokenizer that adds special pieces around a text, or None for ``plain``."""
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
        single=[f"{first}:0", "$A:0", f"{last}:0"],  # not one string, since unigram's names contain a space
        pair=[f"{first}:0", "$A:0", f"{last}:0", "$B:1", f"{last}:1"],
        special_tokens=[(first, cls), (last, sep)],
    )


def _normalizers(config: TokenizerConfig) -> list[Any]:
    """Returns the normalization that our tokenizer applies to a text before segmenting it."""
    steps: list[Any] = []
    match config.normalization:
        case "nfc":
            steps.append(normalizers.NFC())
        case "nfkc":
            steps.append(normalizers.NFKC())
        case "halfwidth":
            steps += [normalizers.Replace(chr(wide), half) for wide, half in HALF_WIDTH.items()]
    if config.lowercase:
        steps.append(normalizers.Lowercase())
    if config.kind in ("bpe", "unigram"):
        steps.append(normalizers.Prepend(" "))
    return steps


def _restore_names(model: Tree, specials: tuple[str, ...]) -> None:
    """Removes the space that ``build`` puts before the names of special pieces."""
    restored = {" " + name: name for name in specials}
    model["vocab"] = {restored.get(piece, piece): index for piece, index in model["vocab"].items()}
    if model.get("unk_token"):
        model["unk_token"] = restored.get(model["unk_token"], model["unk_token"])
