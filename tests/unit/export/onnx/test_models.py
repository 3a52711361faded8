"""Whole models as graphs: the names and the order that loaders rely on, and what the graphs compute with a cache."""

from pathlib import Path
from typing import Any, get_args

import pytest

from clearhead.models.bert import BertKind
from clearhead.nn.attention import AttentionName
from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import PositionName, RotaryScalingConfig, RotaryScalingName
from tests.graphs import OPSETS, assert_same_there, loaded, small_bert
from tests.small import small, small_gpt

onnx_models = pytest.importorskip("clearhead.export.onnx.models", reason="onnx is not installed")
pytestmark = pytest.mark.unchecked
TINY: dict[str, Any] = {"max_seq_len": 9, "n_encoder_layers": 1}
MIXED = BlockConfig(norm="rms", activation="swiglu", attention="qk_norm", bias=False)


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize(
    ("words", "opset"),
    [
        ({"position": position, "n_kv_heads": 2 * (1 + number % 2)}, OPSETS[number // 2 % 2])
        for number, position in enumerate(get_args(PositionName))
    ]
    + [({"block": BlockConfig(attention=name), "n_kv_heads": 2}, 18) for name in get_args(AttentionName)[1:]]
    + [({"tie": "decoder", "block": BlockConfig(norm_position="post", bias="all")}, 23), ({"tie": "none"}, 18)]
    + [({"block": MIXED, "position": "rotary", "n_kv_heads": 1, "n_decoder_layers": 1}, 23)],
)
def test_a_translator(words: dict[str, Any], opset: int, tmp_path: Path) -> None:
    assert_same_there(small(**{**TINY, **words}), tmp_path, opset)


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize(
    ("words", "opset"),
    [
        ({"position": position, "n_kv_heads": 2 * (1 + number % 2)}, OPSETS[number // 2 % 2])
        for number, position in enumerate(get_args(PositionName))
    ]
    + [({"block": BlockConfig(attention=name), "n_kv_heads": 1}, 18) for name in get_args(AttentionName)[1:]]
    + [
        ({"position": "rotary", "rotary_scaling": RotaryScalingConfig(kind, factor=2.0), "rotary_theta": 99.0}, 23)
        for kind in get_args(RotaryScalingName)
    ]
    + [({"block": BlockConfig(norm="batch", bias="all"), "tie": True}, 23)],
)
def test_a_language_model(words: dict[str, Any], opset: int, tmp_path: Path) -> None:
    model = small_gpt(**{"max_seq_len": 9, **words})
    for weight in model.parameters():
        weight.data /= 4.0  # a model this far from uniform doubles rounding errors from layer to layer
    assert_same_there(model, tmp_path, opset)


@pytest.mark.parametrize("kind", get_args(BertKind))
def test_an_encoder(kind: BertKind, tmp_path: Path) -> None:
    unit = onnx_models.Unit(mean=-3.0, deviation=2.5) if kind == "regression" else None
    assert_same_there(small_bert(kind), tmp_path, 23, unit=unit)


def test_a_classifier_that_pools_the_mean(tmp_path: Path) -> None:
    from clearhead.models.bert import BertClassifier

    plain = small_bert("sequence")
    model = BertClassifier(plain.config, vocab_size=13, kind="sequence", n_labels=3, pooling="mean").eval()
    assert_same_there(model, tmp_path, 18)


@pytest.mark.parametrize("longest", [1, 4])
def test_a_classifier_with_ngrams(longest: int, tmp_path: Path) -> None:
    from clearhead.models.bert import BertClassifier

    config, words = small_bert("sequence").config, {"kind": "sequence", "n_labels": 3, "ngram_rows": 31}
    model = BertClassifier(config, vocab_size=13, ngrams=longest, **words).eval()
    assert model.ngrams is not None
    model.ngrams.table.weight.data.normal_()
    assert_same_there(model, tmp_path, 18)


def shapes(values: Any) -> dict[str, list[int | str]]:
    return {value.name: value.shape for value in values}


def test_a_translator_has_the_inputs_and_outputs_of_a_merged_decoder(tmp_path: Path) -> None:
    """Every cache begins with an axis of this name, and has a head for each head of queries, as Optimum assumes."""
    sessions = loaded(small(n_kv_heads=2, n_decoder_layers=2), tmp_path, 23)
    assert list(sessions["encoder_model"].inputs) == ["input_ids", "attention_mask"]
    assert sessions["encoder_model"].outputs == ["last_hidden_state"]
    decoder = sessions["decoder_model_merged"]
    layers = [f"{number}.{side}.{kind}" for number in (0, 1) for side in ("decoder", "encoder") for kind in KINDS]
    assert decoder.outputs == ["logits", *(f"present.{name}" for name in layers)]
    past = [f"past_key_values.{name}" for name in layers]
    first = ["encoder_attention_mask", "input_ids", "encoder_hidden_states"]
    assert list(decoder.inputs) == [*first, *past, "use_cache_branch"]
    for name in past:
        side = name.split(".")[2]
        assert decoder.inputs[name].shape == ["batch_size", 4, f"past_{side}_sequence_length", 4]
    assert (decoder.inputs["use_cache_branch"].type, decoder.inputs["use_cache_branch"].shape) == ("tensor(bool)", [1])


def test_a_language_model_has_those_of_one_with_past(tmp_path: Path) -> None:
    session = loaded(small_gpt(n_kv_heads=2), tmp_path, 23)["model"]
    names = [f"{number}.{kind}" for number in (0, 1) for kind in KINDS]
    past = [f"past_key_values.{name}" for name in names]
    assert list(session.inputs) == ["input_ids", "attention_mask", "position_ids", *past]
    assert session.outputs == ["logits", *(f"present.{name}" for name in names)]
    assert session.inputs[past[0]].shape == ["batch_size", 2, "past_sequence_length", 4]
    assert session.inputs["attention_mask"].shape == ["batch_size", "total_sequence_length"]


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [("encoder", ["last_hidden_state"]), ("masked", ["logits", "last_hidden_state"]), ("sequence", ["logits"])],
)
def test_an_encoder_has_those_of_its_task(kind: BertKind, outputs: list[str], tmp_path: Path) -> None:
    session = loaded(small_bert(kind), tmp_path, 23)["model"]
    assert list(session.inputs) == ["input_ids", "attention_mask", "token_type_ids"]
    assert session.outputs == outputs


KINDS = ("key", "value")
