"""The tokenizers of folders give the ids of ``AutoTokenizer``, of the run and of its export, or name what they lack."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers as hf

from clearhead.errors import ModelError
from clearhead.interop.tokenizer import check_template, read_tokenizer, write_tokenizer
from clearhead.text.tokenizer import Tokenizer
from tests.foreign import LINES, byte_fallback, byte_level, wordpiece

PIPELINES: dict[str, Callable[[], hf.Tokenizer]] = {"bert": wordpiece, "gpt2": byte_level, "llama": byte_fallback}
ROWS = 310  # more than any of them has pieces
TEXTS = [
    *LINES,
    "He EATS Äpfel naïve café 我吃了 apple",
    "  two  spaces",
    " a",
    "[CLS] the river [SEP] froze [MASK] .",
    "a<tab>b <extra> c <TAB>",
    "x <|endoftext|> y</s> appa <s><unk>a",
]
PLAIN = {"lstrip": False, "rstrip": False, "single_word": False}
TAB = {"content": "<tab>", "normalized": True, "special": False, **PLAIN}
EXTRA = {"content": "<extra>", "normalized": False, "special": True, **PLAIN}
UNKNOWN, BEGIN = {**EXTRA, "content": "<unk>"}, {**EXTRA, "content": "<s>"}


@functools.cache
def trained(kind: str) -> hf.Tokenizer:
    """One of each kind: another training gives other pieces."""
    return PIPELINES[kind]()


def write(
    folder: Path,
    kind: str,
    settings: dict[str, Any] | None = None,
    *,
    old: bool = False,
    rows: int = ROWS,
    **files: Any,
) -> Path:
    """Writes a folder without weights; an ``old`` one has no tokenizer.json."""
    folder.mkdir(exist_ok=True)
    pipeline = trained(kind)
    pipeline.no_truncation()
    pipeline.no_padding()
    pipeline.model.save(str(folder)) if old else pipeline.save(str(folder / "tokenizer.json"))
    if settings is not None:
        files["tokenizer_config"] = settings
    for name, content in {"config": {"model_type": kind, "vocab_size": rows}, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def read(folder: Path) -> Tokenizer:
    config = json.loads((folder / "config.json").read_text())
    return read_tokenizer(folder, config, config["vocab_size"])


def assert_same_ids(ours: Tokenizer, folder: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
    begun = theirs("a")["input_ids"][: 1 + len(ours.encode("a"))]
    assert begun == [ours.begin] * ours.begins + theirs("a")["input_ids"][ours.begins :][: len(ours.encode("a"))]


SETTINGS: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
    ("bert", None, {}),
    ("bert", {"do_lower_case": False}, {}),
    ("bert", {"do_lower_case": False, "tokenizer_class": "BertTokenizerFast"}, {}),
    ("bert", {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}, {}),
    ("bert", {"strip_accents": False}, {}),
    ("bert", {"tokenize_chinese_chars": False}, {}),
    ("bert", {"split_special_tokens": True}, {}),
    ("bert", {"unk_token": "[MASK]"}, {}),
    ("bert", {"additional_special_tokens": ["<extra>"], "pad_token": {"__type": "AddedToken", **EXTRA}}, {}),
    ("bert", {"extra_special_tokens": {"image_token": "<extra>"}}, {}),
    ("bert", {"added_tokens_decoder": {"121": TAB, "120": EXTRA}}, {}),
    ("bert", {"added_tokens_decoder": {"121": TAB}, "tokenizer_class": "TokenizersBackend"}, {}),
    ("bert", {}, {"added_tokens": {"<extra>": 125, "<tab>": 123}}),
    ("bert", {}, {"added_tokens": {"<extra>": 1}, "special_tokens_map": {"additional_special_tokens": ["<extra>"]}}),
    ("bert", {}, {"special_tokens_map": {"sep_token": "[CLS]", "mask_token": {"content": "[MASK]", "lstrip": True}}}),
    ("gpt2", None, {}),
    ("gpt2", {"add_prefix_space": True}, {"added_tokens": {"<tab>": 300}}),
    ("gpt2", {"add_bos_token": True, "pad_token": "<tab>"}, {}),
    ("llama", {"tokenizer_class": "LlamaTokenizer"}, {"added_tokens": {"<tab>": 264}}),
    ("llama", {"tokenizer_class": "LlamaTokenizerFast", "legacy": True}, {}),
    ("llama", {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}, {}),
    (
        "llama",
        {"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {"0": UNKNOWN, "1": BEGIN, "264": TAB}},
        {},
    ),
    ("llama", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "add_bos_token": True}, {}),
]


@pytest.mark.long_but(every=6)
@pytest.mark.parametrize("old", [False, True], ids=["tokenizer.json", "old"])
@pytest.mark.parametrize(("kind", "settings", "files"), SETTINGS, ids=lambda value: json.dumps(value)[:50])
def test_ids_are_those_of_auto_tokenizer(
    kind: str, settings: dict[str, Any] | None, files: dict[str, Any], old: bool, tmp_path: Path
) -> None:
    if old and (kind == "llama" or "PreTrained" in str(settings) or "Backend" in str(settings)):
        pytest.skip("theirs needs tokenizer.json too")
    folder = write(tmp_path / "theirs", kind, settings, old=old, **files)
    ours = read(folder)
    assert_same_ids(ours, folder)
    back = write(tmp_path / "back", kind)
    for name, content in write_tokenizer(ours, template="segments" if kind == "bert" else "plain").items():
        (back / name).write_text(content, encoding="utf-8")
    assert_same_ids(ours, back)
    assert read(back).encode_batch(TEXTS) == ours.encode_batch(TEXTS)


def test_settings_change_something(tmp_path: Path) -> None:
    """Else the test above would hold for a reader that reads none of them."""
    plain = read(write(tmp_path / "plain", "bert")).encode_batch(TEXTS)
    for number, (kind, settings, files) in enumerate(SETTINGS[1:6]):
        ids = read(write(tmp_path / str(number), kind, settings, **files)).encode_batch(TEXTS)
        assert (ids == plain) == ("PreTrained" in str(settings)), settings


@pytest.mark.parametrize(
    ("kind", "settings", "files", "message"),
    [
        (
            "bert",
            {"tokenizer_class": "RobertaTokenizer"},
            {},
            "tokenizer_config.json: tokenizer_class = 'RobertaTokeniz",
        ),
        (
            "gpt2",
            {"tokenizer_class": "BertTokenizer"},
            {},
            "tokenizer.json: model = 'BPE': must be 'WordPiece' with token",
        ),
        (
            "llama",
            {"tokenizer_class": "GPT2Tokenizer"},
            {},
            "tokenizer.json: normalizer = 'Prepend Replace': must be abs",
        ),
        ("bert", {"added_tokens_decoder": [1]}, {}, "tokenizer_config.json: added_tokens_decoder: must be a table"),
        (
            "bert",
            {"added_tokens_decoder": {"1": {"content": 3}}},
            {},
            "must be a piece, with flags that are true or false",
        ),
        ("bert", {}, {"added_tokens": {"<tab>": "1"}}, "added_tokens.json: '<tab>' = '1': must be an id"),
    ],
)
def test_what_would_give_other_ids_is_refused_by_name(
    kind: str, settings: dict[str, Any], files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        read(write(tmp_path, kind, settings, **files))


def test_a_file_that_is_nested_too_deeply(tmp_path: Path) -> None:
    write(tmp_path, "gpt2", {})
    (tmp_path / "tokenizer.json").write_text('{"model": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ModelError, match=r"tokenizer.json is nested too deeply"):
        read(tmp_path)


def test_pieces_without_a_row(tmp_path: Path) -> None:
    """A special piece for which the model has no row never comes; an added one would be lost in silence."""
    ours = read(write(tmp_path, "gpt2", {"pad_token": "<extra>"}, rows=300))
    assert (ours.vocab_size, ours.ids.pad) == (300, -1)
    with pytest.raises(ModelError, match="adds the piece '<tab>' as id 300, the model has 300 rows"):
        read(write(tmp_path, "gpt2", {}, rows=300, added_tokens={"<tab>": 300}))


def test_what_stands_around_a_text(tmp_path: Path) -> None:
    check_template(read(write(tmp_path / "bert", "bert")), "segments", "theirs")
    bare = read(write(tmp_path / "bare", "bert", {"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(ModelError, match=r"'theirs': tokenizer.json: post_processor: must put \[CLS\] before a text"):
        check_template(bare, "segments", "theirs")
    ended = read(write(tmp_path / "gpt2", "gpt2", {"add_eos_token": True}, old=True))
    with pytest.raises(
        ModelError, match="post_processor: must put one piece before a text at most, and none behind it"
    ):
        check_template(ended, "begin", "theirs")
    check_template(read(write(tmp_path / "bos", "gpt2", {"add_bos_token": True}, old=True)), "begin", "theirs")
