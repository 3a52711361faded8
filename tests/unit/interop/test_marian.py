"""Marian: the same logits in both libraries, an exact round trip, and which models are refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.interop.folder import read_config, read_tensors
from clearhead.interop.marian import (
    marian_from_hugging_face,
    marian_to_hugging_face,
    read_marian_tokenizers,
    whole_id,
)
from clearhead.models.transformer import Transformer
from clearhead.text.special import SpecialIds
from tests.foreign import sentencepiece, write_marian
from tests.small import assert_near


@torch.no_grad()
@pytest.mark.parametrize("activation", ["swish", "gelu", "relu"])
def test_logits_and_the_way_back(activation: str, tmp_path: Path) -> None:
    from transformers import MarianMTModel

    folder = write_marian(tmp_path, activation_function=activation)
    config, given = read_config(folder), read_tensors(folder)
    ours, tensors, report = marian_from_hugging_face(config, given)
    assert set(report.loaded) == set(given)
    model = Transformer(ours, src_vocab_size=report.vocab_size, vocab_size=report.vocab_size).eval()
    model.load_state_dict(tensors)
    theirs = MarianMTModel.from_pretrained(folder).eval()
    assert theirs.final_logits_bias.abs().max() > 0.1
    pad = report.vocab_size - 1
    src, tgt = torch.tensor([[5, 9, 3, 0], [7, 0, pad, pad]]), torch.tensor([[pad, 8, 9], [pad, 4, 5]])
    real = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    out = theirs(input_ids=src, attention_mask=real, decoder_input_ids=tgt, use_cache=False).logits
    assert out.std() > 0.5
    assert_near(model(src, tgt, src_mask=real.bool()), out, 1e-5)
    ids = SpecialIds(pad=config["pad_token_id"], bos=config["decoder_start_token_id"], eos=0, unk=1)
    written, back = marian_to_hugging_face(ours, model.state_dict(), vocab_size=report.vocab_size, ids=ids)
    assert back.keys() == given.keys()
    assert all(torch.equal(tensor, given[name]) for name, tensor in back.items()), "bit for bit"
    same = (written.keys() & config.keys()) - {"activation_function", "forced_eos_token_id"}
    assert {key: written[key] for key in same} == {key: config[key] for key in same}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_embedding": False}, "config.json: scale_embedding = False: must be True"),
        ({"decoder_ffn_dim": 64}, "config.json: decoder_ffn_dim = 64: must be 48"),
        ({"normalize_before": True}, "config.json: normalize_before = True: must be False"),
        ({"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings = False: must be True"),
        ({"activation_function": "mish"}, "config.json: activation_function = 'mish': must be"),
        ({"encoder_layers": 3}, "tensor 'model.encoder.layers.2.fc1.bias' is missing"),
        ({"vocab_size": 9, "decoder_vocab_size": 9}, "has shape"),
        ({"d_model": None}, "config.json: d_model = None"),
    ],
)
def test_what_ours_is_not(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write_marian(tmp_path)
    with pytest.raises(ModelError, match=message):
        marian_from_hugging_face({**read_config(folder), **change}, read_tensors(folder))


def test_what_theirs_is_not(tmp_path: Path) -> None:
    ours, tensors, report = marian_from_hugging_face(
        *(read(write_marian(tmp_path)) for read in (read_config, read_tensors))
    )
    for change, message in (
        ({"position": "rotary"}, "Hugging Face's marian: model.position = 'rotary': must be 'sinusoidal'"),
        ({"n_kv_heads": 2}, "model.n_kv_heads = 2: must be 4"),
        ({"tie": "decoder"}, "model.tie = 'decoder': must be 'all'"),
        ({"block": dataclasses.replace(ours.block, norm_position="pre")}, "norm_position = 'pre': must be 'post'"),
    ):
        changed = dataclasses.replace(ours, **change)
        with pytest.raises(ModelError, match=message):
            marian_to_hugging_face(changed, tensors, vocab_size=report.vocab_size, ids=SpecialIds())


def test_ids_are_those_of_the_table_for_each_language(tmp_path: Path) -> None:
    folder = write_marian(tmp_path)
    config, numbers = read_config(folder), json.loads((folder / "vocab.json").read_text())
    src, tgt = read_marian_tokenizers(folder, config, len(numbers))
    assert src.ids == SpecialIds(pad=len(numbers) - 1, bos=len(numbers) - 1, eos=0, unk=1)
    assert src.encode("He eats an apple.") == [
        numbers[piece] for piece in ("▁", "H", "e", "▁eats", "▁an", "▁apple", ".")
    ]
    assert tgt.encode("我吃了苹果") == [numbers[piece] for piece in ("▁", "我", "吃了", "苹果")]
    assert src.encode("苹果 x") == [numbers["▁"], numbers["苹果"], numbers["▁"], 1], "unknown here, known to the table"
    assert tgt.encode("一个") == [numbers["▁"], numbers["一"], 1], "cut here, unknown to the table"
    assert tgt.decode(tgt.encode("我吃了苹果")) == "我吃了苹果"
    assert src.decode([0, *src.encode("He eats an apple."), len(numbers) - 1]) == "He eats an apple."


def test_tokenizers_that_ours_cannot_be(tmp_path: Path) -> None:
    folder = write_marian(tmp_path)
    config, numbers = read_config(folder), json.loads((folder / "vocab.json").read_text())
    cases: list[tuple[str, bytes, str]] = [
        ("source.spm", b"xx", r"source.spm': not a SentencePiece model"),
        ("target.spm", sentencepiece({"a": -1.0}, types={"a": 4}), r"target.spm': piece 'a' is user-defined"),
        ("vocab.json", json.dumps({**numbers, ">>fra<<": 3}).encode(), "vocab.json has the language code '>>fra<<'"),
        ("vocab.json", json.dumps({**numbers, "x": 999}).encode(), "vocab.json has ids outside the model's table"),
        ("vocab.json", b'{"a": "b"}', "is not a table of pieces and ids"),
        ("vocab.json", b'{"a": 1}', "vocab.json has no <unk>"),
    ]
    for name, content, message in cases:
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            read_marian_tokenizers(folder, config, len(numbers))
        (folder / name).write_bytes(kept)
    (folder / "source.spm").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer: source\.spm, target\.spm, vocab\.json, or tok"):
        read_marian_tokenizers(folder, config, len(numbers))


@pytest.mark.parametrize("index", [-1, 1 << 22, 10**99, "3", True, None, [1, 2]])
def test_what_is_no_id_is_refused_in_a_line(index: Any) -> None:
    assert whole_id({"pad_token_id": [3]}, "pad_token_id") == 3
    with pytest.raises(ModelError, match=r"config.json: pad_token_id = .{1,200}: must be an id"):
        whole_id({"pad_token_id": index}, "pad_token_id")
