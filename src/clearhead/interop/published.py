"""The tokenizer that transformers makes of a folder: ``tokenizer.json``, and the settings and pieces beside it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.files import MOST_OF_TEXT, read_json, read_small
from clearhead.interop.spelling import demand
from clearhead.text.adopted import check_file

FILE, SETTINGS, NAMES, ADDED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")  # in the order in which their library adds the pieces
_NAMED = tuple(f"{role}_token" for role in ROLES)
_AS_IT_IS = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend")
_OWN = {"bert": "BertTokenizer", "gpt2": "GPT2Tokenizer"}  # the class of a folder that names none
# classes that build their own normalizer and word rule and take only the vocabulary from tokenizer.json, with the names
# of special pieces that a folder may leave out, and the parts that the file may have, since either means the same
_DEFAULT_NAMES = {
    "BertTokenizer": {name: f"[{name.removesuffix('_token').upper()}]" for name in _NAMED[2:]},
    "GPT2Tokenizer": dict.fromkeys(_NAMED[:3], "<|endoftext|>"),
    "LlamaTokenizer": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
}
_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "BertTokenizer": {
        "model": ("WordPiece",),
        "normalizer": ("BertNormalizer",),
        "pre_tokenizer": ("BertPreTokenizer",),
    },
    "GPT2Tokenizer": {"model": ("BPE",), "normalizer": ("",), "pre_tokenizer": ("ByteLevel",)},
    "LlamaTokenizer": {
        "model": ("BPE",),
        "normalizer": ("", "Prepend Replace", "Replace"),
        "pre_tokenizer": ("", "Metaspace"),
    },
}


class Published(NamedTuple):
    """A folder's tokenizer."""

    content: str  # a ``tokenizer.json`` that says all of it
    settings: Tree  # names of special pieces, and the other settings
    splits: bool  # whether the name of a special piece in a text is ordinary text


def read_settings(folder: Path) -> Tree:
    """Returns ``tokenizer_config.json``, and what ``special_tokens_map.json`` puts over it in old folders."""
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if "added_tokens_decoder" not in settings and (folder / NAMES).is_file():
        settings |= read_json(folder / NAMES)
    return settings


def read_published(folder: Path, config: Tree, vocab_size: int) -> Published:
    """Reads the tokenizer of a folder as ``AutoTokenizer`` does.

    Args:
        folder: the folder of a model.
        config: its ``config.json``.
        vocab_size: rows of the model's table.

    Raises:
        ModelError: there is no tokenizer, or a file or setting that would give other ids here; the message names it.
    """
    settings = read_settings(folder)
    kind = _class_of(folder, settings, config)
    settings = {**_DEFAULT_NAMES.get(kind, {}), **settings}
    try:
        content = _content(folder, kind, settings)
        check_file(content)
    except ValueError as error:
        raise ModelError(f"{str(folder)!r}: {error}") from error
    tree = json.loads(content)
    own = _built(tree, kind, settings, folder) if kind in _PARTS else tree
    try:
        pipeline = hf.Tokenizer.from_str(json.dumps(own))
        changed = _add_pieces(pipeline, folder, settings, tree.get("added_tokens") or [], vocab_size)
        _begin(pipeline, folder, kind, settings)
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ModelError(f"{str(folder)!r}: the tokenizer's files cannot be read: {error}") from error
    around = json.loads(pipeline.to_str())["post_processor"] != tree.get("post_processor")
    changed = changed or around or own is not tree or not (folder / FILE).is_file()
    whole = pipeline.to_str() if changed else content
    return Published(whole, settings, bool(settings.get("split_special_tokens")))


def name_of(role: str, settings: Tree) -> str | None:
    """Returns the name of a special piece; the settings have it as a string or under the key ``content``."""
    name = settings.get(f"{role}_token")
    name = name.get("content") if isinstance(name, dict) else name
    return name if isinstance(name, str) else None


def added_names(folder: Path) -> list[str]:
    """Returns the pieces that stand beside a folder's main file."""
    settings = read_settings(folder)
    table = settings.get("added_tokens_decoder")
    if isinstance(table, dict):
        return [str(_piece(piece, SETTINGS).content) for piece in table.values()]
    return list(read_json(folder / ADDED)) if (folder / ADDED).is_file() else []


def _class_of(folder: Path, settings: Tree, config: Tree) -> str:
    """Returns the class that their library takes: the folder's, or that of the kind of model."""
    said = settings.get("tokenizer_class") or config.get("tokenizer_class")
    kind = str(said or _OWN.get(str(config.get("model_type")), _AS_IT_IS[0])).removesuffix("Fast")
    kind = kind if kind != "PreTrainedTokenizer" else _AS_IT_IS[0]
    demand({"tokenizer_class": kind}, {"tokenizer_class": (*_AS_IT_IS, *_PARTS)}, f"{SETTINGS}: ")
    if kind == "LlamaTokenizer" and (folder / FILE).is_file():  # an old name for any tokenizer of a Llama
        tree = read_json(folder / FILE)
        kinds = {kind for room in ("pre_tokenizer", "decoder") for kind in _kinds(tree.get(room))}
        return _AS_IT_IS[0] if "ByteLevel" in kinds else kind
    return kind


def _content(folder: Path, kind: str, settings: Tree) -> str:
    """Returns the ``tokenizer.json`` of a folder, or makes one from the files of older models."""
    try:
        if (folder / FILE).is_file():
            return read_small(folder / FILE, MOST_OF_TEXT).decode()
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            model: Any = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
            pipeline = hf.Tokenizer(model)
            space = bool(settings.get("add_prefix_space"))
            pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
            pipeline.decoder = decoders.ByteLevel()
            return str(pipeline.to_str())
        if (folder / "vocab.txt").is_file():
            model = models.WordPiece.from_file(str(folder / "vocab.txt"), unk_token=name_of("unk", settings) or "[UNK]")
            pipeline = hf.Tokenizer(model)
            pipeline.normalizer = normalizers.BertNormalizer()
            pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            pipeline.decoder = decoders.WordPiece()
            return str(pipeline.to_str())
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ModelError(f"{str(folder)!r}: the tokenizer's files cannot be read: {error}") from error
    raise ModelError(f"{str(folder)!r} has no tokenizer: {FILE}, vocab.json with merges.txt, or vocab.txt is needed")


def _kinds(part: Any) -> list[str]:
    """Returns the types of a part of the file, or of the parts inside it."""
    if not isinstance(part, dict):
        return []
    for inside in ("normalizers", "pretokenizers", "decoders"):
        if isinstance(part.get(inside), list):
            return [kind for inner in part[inside] for kind in _kinds(inner)]
    return [str(part.get("type"))]


def _built(tree: Tree, kind: str, settings: Tree, folder: Path) -> Tree:
    """Returns the file with the parts that the class ``kind`` builds from the settings, whatever the file has.

    Versions of their library disagree where the file has parts of another kind than the class; such files are refused.
    """
    for room, allowed in _PARTS[kind].items():
        kinds = " ".join(_kinds(tree.get(room)))
        if kinds not in allowed:
            rule = " or ".join(repr(words) for words in allowed if words) or "absent"
            raise ModelError(f"{FILE}: {room} = {kinds!r}: must be {rule} with tokenizer_class = {kind!r}")
    model, space = tree["model"], settings.get("add_prefix_space")
    if model.get("ignore_merges"):
        raise ModelError(f"{FILE}: model.ignore_merges = True: must be False with tokenizer_class = {kind!r}")
    pipeline = hf.Tokenizer(models.BPE())
    match kind:
        case "BertTokenizer":
            pipeline.normalizer = normalizers.BertNormalizer(
                lowercase=bool(settings.get("do_lower_case", True)),
                strip_accents=settings.get("strip_accents"),
                handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
            )
            pipeline.pre_tokenizer, pipeline.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
            model = {**model, "unk_token": name_of("unk", settings), "continuing_subword_prefix": "##"}
            model["max_input_chars_per_word"] = 100
        case "GPT2Tokenizer":
            pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(space))
            pipeline.decoder = decoders.ByteLevel()
            model = {**model, "unk_token": None, "fuse_unk": False, "byte_fallback": False, "dropout": None}
        case "LlamaTokenizer":
            space = space is None or bool(space)
            scheme = ("always" if settings.get("legacy") else "first") if space else "never"
            pipeline.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
            strip = [decoders.Strip(" ", 1, 0)] * space
            parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
            pipeline.decoder = decoders.Sequence(parts)
            model = {**model, "unk_token": None, "fuse_unk": True, "byte_fallback": True, "dropout": None}
    parts = json.loads(pipeline.to_str())
    rooms = {room: parts[room] for room in ("normalizer", "pre_tokenizer", "decoder")}
    same = {**tree, **rooms, "model": model}
    given = "added_tokens_decoder" in settings or not (folder / FILE).is_file()
    return tree if same == tree and not given else {**same, "added_tokens": []}


def _piece(piece: Any, source: str, **flags: bool) -> hf.AddedToken:
    """Returns a piece that is named by a string, or by a table with its flags."""
    table = dict(piece) if isinstance(piece, dict) else {"content": piece, **flags}
    table = {key: value for key, value in table.items() if key not in ("__type", "id")} | flags
    texts = isinstance(table.get("content"), str) and table["content"]
    if not texts or not all(type(value) is bool for key, value in table.items() if key != "content"):
        raise ModelError(f"{source}: {piece!r}: must be a piece, with flags that are true or false")
    return hf.AddedToken(**table)


def _named(settings: Tree) -> Iterator[hf.AddedToken]:
    """Yields the special pieces that the settings name, in the order in which their library adds them."""
    further = [key for key in settings if key.endswith("_token") and key not in _NAMED]
    for key in (*_NAMED, *further):
        if isinstance(settings.get(key), str | dict) and settings[key]:
            yield _piece(settings[key], SETTINGS, special=True)
    more = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    for piece in more.values() if isinstance(more, dict) else more:
        yield _piece(piece, SETTINGS, special=True)


def _beside(folder: Path, settings: Tree, in_file: list[Tree]) -> list[hf.AddedToken]:
    """Returns the pieces that the folder adds to the vocabulary, in order of the ids that it gives them."""
    table = settings.get("added_tokens_decoder")
    pieces: dict[int, hf.AddedToken] = {}
    if table is not None:
        if not isinstance(table, dict) or not all(str(index).isdecimal() for index in table):
            raise ModelError(f"{SETTINGS}: added_tokens_decoder: must be a table of ids and pieces")
        pieces = {int(index): _piece(piece, SETTINGS) for index, piece in table.items()}
    else:
        special = {piece.content for piece in _named(settings)}
        added = read_json(folder / ADDED) if (folder / ADDED).is_file() else {}
        for name, index in added.items():
            if type(index) is not int:
                raise ModelError(f"{ADDED}: {name!r} = {index!r}: must be an id")
            flags = {"normalized": name not in special, "special": name in special}
            pieces[index] = _piece(name, ADDED, **flags)
        pieces |= {token["id"]: _piece(token, FILE) for token in in_file}
    return [pieces[index] for index in sorted(pieces)]


def _add_pieces(pipeline: hf.Tokenizer, folder: Path, settings: Tree, in_file: list[Tree], vocab_size: int) -> bool:
    """Adds the pieces beside the main file as their library does, with the ids that come next; says if any was new.

    Special pieces for which the model has no row are left out: no text has them here, and there they have no state.
    """
    present = pipeline.get_added_tokens_decoder().values()
    known = {repr(piece) for piece in present}
    new = _beside(folder, settings, in_file)  # theirs adds all of them anew, which may change the flags of a piece
    names = {piece.content for piece in (*present, *new)}
    beside = len(new)
    new += [piece for piece in _named(settings) if piece.content not in names]
    changed = False
    special = {piece.content for piece in _named(settings)}
    for number, piece in enumerate(new):
        index, size = pipeline.token_to_id(piece.content), pipeline.get_vocab_size(with_added_tokens=True)
        if index is None and size >= vocab_size:
            if number >= beside or piece.content in special:
                continue
            text = piece.content
            raise ModelError(f"{str(folder)!r} adds the piece {text!r} as id {size}, the model has {vocab_size} rows")
        piece.special = piece.special or piece.content in special
        pipeline.add_tokens([piece])
        changed = changed or repr(piece) not in known
    return changed


def _begin(pipeline: hf.Tokenizer, folder: Path, kind: str, settings: Tree) -> None:
    """Sets the special pieces around a text where the class does so, and not the file."""
    marks = [(name, pipeline.token_to_id(name)) for role in ("cls", "sep") if (name := name_of(role, settings))]
    if kind == "BertTokenizer" and len(marks) == 2 and None not in dict(marks).values():
        (first, _), (last, _) = marks
        pipeline.post_processor = processors.TemplateProcessing(
            single=[f"{first}:0", "$A:0", f"{last}:0"],
            pair=[f"{first}:0", "$A:0", f"{last}:0", "$B:1", f"{last}:1"],
            special_tokens=marks,
        )
    if not (folder / FILE).is_file() and kind in ("GPT2Tokenizer", "LlamaTokenizer"):
        around = {role: settings.get(f"add_{role}_token") and name_of(role, settings) for role in ("bos", "eos")}
        used = [(name, pipeline.token_to_id(name)) for name in around.values() if name]
        single = [*filter(None, [around["bos"]]), "$A", *filter(None, [around["eos"]])]
        if used:
            pipeline.post_processor = processors.TemplateProcessing(single=single, special_tokens=used)
