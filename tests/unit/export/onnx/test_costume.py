"""What stands beside the graphs: a config that loaders read, settings, tokenizers; what no cache can do is refused."""

import json
from typing import Any

import pytest

from clearhead.data.labels.labels import Labels
from clearhead.runs.text_parts import TextParts
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.graphs import small_bert
from tests.small import VOCAB, small, small_gpt

onnx_costume = pytest.importorskip("clearhead.export.onnx.costume", reason="onnx is not installed")


def tokenizer(kind: Any = "char", **words: Any) -> Tokenizer:
    return Tokenizer.train(["abc def", "fed cba"], TokenizerConfig(kind=kind, vocab_size=300, **words))


def beside(model: Any, parts: TextParts, *, marks: bool = False) -> dict[str, Any]:
    files = onnx_costume.files_beside(model, parts, lambda: marks)
    return {name: json.loads(content) for name, content in files.items()}


def test_a_translator_is_marian() -> None:
    joint = tokenizer()
    files = beside(small(n_decoder_layers=3), TextParts(joint, joint))
    assert files["config.json"] | WANTED == files["config.json"]
    assert files["generation_config.json"]["decoder_start_token_id"] == joint.ids.bos
    assert files["generation_config.json"]["max_length"] == 64
    assert files["generation_config.json"]["suppress_tokens"] == [0, 1, 3]
    assert files["tokenizer_config.json"]["model_input_names"] == ["input_ids", "attention_mask"]


WANTED = {
    "model_type": "marian",
    "architectures": ["MarianMTModel"],
    "is_encoder_decoder": True,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "decoder_attention_heads": 4,
    "d_model": 16,
    "vocab_size": VOCAB,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


def test_two_vocabularies_are_told_apart_by_name() -> None:
    files = beside(small(), TextParts(tokenizer(), tokenizer("wordpiece")))
    assert "tokenizer.json" not in files
    assert files["source_tokenizer.json"]["model"] != files["target_tokenizer.json"]["model"]


@pytest.mark.parametrize("marks", [False, True])
def test_a_language_model_is_llama_and_begins_as_it_was_trained(marks: bool) -> None:
    own = tokenizer()
    files = beside(small_gpt(n_kv_heads=2), TextParts(own), marks=marks)
    config = files["config.json"]
    assert (config["model_type"], config["num_attention_heads"], config["num_key_value_heads"]) == ("llama", 4, 2)
    assert (config["head_dim"], config["num_hidden_layers"], config["eos_token_id"]) == (4, 2, own.ids.eos)
    assert bool(files["tokenizer.json"]["post_processor"]) == marks


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("encoder", "BertModel"),
        ("pretraining", "BertForMaskedLM"),
        ("sequence", "BertForSequenceClassification"),
        ("regression", "BertForSequenceClassification"),
        ("token", "BertForTokenClassification"),
    ],
)
def test_an_encoder_is_bert(kind: Any, name: str) -> None:
    files = beside(small_bert(kind), TextParts(tokenizer(specials="masked")))
    assert (files["config.json"]["model_type"], files["config.json"]["architectures"]) == ("bert", [name])
    assert "generation_config.json" not in files
    names = files["tokenizer_config.json"]["model_input_names"]
    assert names == ["input_ids", "token_type_ids", "attention_mask"]


def test_classes_have_their_names_and_numbers_one_of_their_own() -> None:
    own = tokenizer(specials="masked")
    parts = TextParts(own, labels=Labels(("no", "perhaps", "yes"), pairs=False))
    config = beside(small_bert("sequence"), parts)["config.json"]
    assert config["id2label"] == {"0": "no", "1": "perhaps", "2": "yes"}
    assert config["label2id"] == {"no": 0, "perhaps": 1, "yes": 2}
    config = beside(small_bert("regression"), TextParts(own, labels=Labels((), pairs=False)))["config.json"]
    assert (config["problem_type"], config["id2label"]) == ("regression", {"0": "LABEL_0"})
