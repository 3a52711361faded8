"""CTranslate2's folder: its own package computes from it what our models compute, over configurations; refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.errors import ModelError
from clearhead.export.ctranslate2 import ctranslate2_files
from clearhead.export.ctranslate2_file import Quantization
from clearhead.export.runtime import Exportable
from clearhead.models.bert import Bert, BertConfig
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.layer import BlockConfig
from clearhead.text.special import SPECIAL_IDS
from tests.small import assert_near, shake

theirs = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it reads what is written here")
VOCAB = 24
PIECES = ["<pad>", "<s>", "</s>", "<unk>", *(chr(ord("a") + at) for at in range(VOCAB - 4))]
SOURCES = [[5, 9, 7, 4, 11], [8, 6], [21]]
TARGETS = [[6, 8, 20], [10, 4, 4, 9], []]
SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 48, "n_heads": 4, "max_seq_len": 24, "dropout": 0.0}


def block(**words: Any) -> BlockConfig:
    return BlockConfig(**{"norm_eps": 1e-5, "attn_dropout": 0.0, **words})


def write(folder: Path, model: Exportable, quantize: Quantization = "float32") -> Path:
    pieces = {"source": PIECES, "target": PIECES} if isinstance(model, Transformer) else {"": PIECES}
    for name, content in ctranslate2_files(model, pieces, ids=SPECIAL_IDS, quantize=quantize).items():
        (folder / name).write_bytes(content)
    return folder


def loud(model: torch.nn.Module) -> Any:
    """Returns a shaken model whose outputs are far from uniform."""
    shake(model)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 2
    return model.eval()


def translator(**words: Any) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(**{**SIZES, "n_encoder_layers": 2, "n_decoder_layers": 2, **words})
    return loud(Transformer(config, src_vocab_size=VOCAB, vocab_size=VOCAB))


def language_model(**words: Any) -> GPT:
    torch.manual_seed(0)
    return loud(GPT(GPTConfig(**{**SIZES, "n_layers": 2, **words}), vocab_size=VOCAB))


def encoder(**words: Any) -> Bert:
    torch.manual_seed(0)
    return loud(
        Bert(BertConfig(**{**SIZES, "n_layers": 2, "block": block(norm_position="post"), **words}), vocab_size=VOCAB)
    )


TRANSLATORS: list[dict[str, Any]] = [
    {},
    {"block": block(norm_position="post"), "position": "learned"},
    {"block": block(norm="rms", activation="swiglu", bias=False), "position": "rotary", "n_kv_heads": 2},
    {"block": block(norm="rms", activation="glu", bias="all"), "position": "none", "tie": "none"},
    {"block": block(activation="geglu", norm_position="post"), "tie": "decoder", "n_kv_heads": 1},
    {"block": block(activation="tanh"), "n_encoder_layers": 1},
    {"block": block(activation="sigmoid"), "n_decoder_layers": 1},
    {"block": block(activation="silu", norm_eps=1e-3)},
]


@pytest.mark.long_but(every=4)
@torch.no_grad()
@pytest.mark.parametrize("words", TRANSLATORS, ids=range(len(TRANSLATORS)))
def test_a_translator_scores_and_translates_there_as_here(words: dict[str, Any], tmp_path: Path) -> None:
    model = translator(**words)
    reader = theirs.Translator(str(write(tmp_path, model)), inter_threads=1, intra_threads=1)
    spelled = [[[PIECES[piece] for piece in row] for row in rows] for rows in (SOURCES, TARGETS)]
    results = reader.score_batch(*spelled, max_input_length=0)
    for source, target, result in zip(SOURCES, TARGETS, results, strict=True):
        log_probs = model(torch.tensor([[*source, 2]]), torch.tensor([[1, *target]])).log_softmax(-1)[0]
        wanted = log_probs[torch.arange(len(target) + 1), torch.tensor([*target, 2])]
        assert_near(torch.tensor(result.log_probs), wanted, 1e-5)
    options = {"beam_size": 1, "min_decoding_length": 0, "max_decoding_length": 12, "max_input_length": 0}
    for source, result in zip(SOURCES, reader.translate_batch(spelled[0], disable_unk=False, **options), strict=True):
        assert [PIECES.index(piece) for piece in result.hypotheses[0]] == greedy(model, source)


def greedy(model: Transformer, source: list[int]) -> list[int]:
    ids = [1]
    while len(ids) <= 12:
        ids.append(int(model(torch.tensor([[*source, 2]]), torch.tensor([ids]))[0, -1].argmax()))
        if ids[-1] == 2:
            return ids[1:-1]
    return ids[1:]


LANGUAGE_MODELS: list[dict[str, Any]] = [
    {},
    {
        "position": "rotary",
        "n_kv_heads": 2,
        "block": block(norm="rms", activation="swiglu", attention="qk_norm", bias=False, norm_eps=1e-3),
    },
    {"position": "alibi", "block": block(activation="gelu")},
    {"position": "alibi", "n_heads": 2, "block": block(norm_position="post")},
    {"position": "rotary", "rotary_theta": 500.0, "tie": False, "block": block(norm="rms", activation="reglu")},
    {"position": "sinusoidal"},
    {"position": "none", "block": block(norm="rms", bias="all")},  # layer norm would not see a wrong constant
]


@torch.no_grad()
@pytest.mark.parametrize("words", LANGUAGE_MODELS, ids=range(len(LANGUAGE_MODELS)))
def test_a_language_model_scores_there_as_here(words: dict[str, Any], tmp_path: Path) -> None:
    model = language_model(**words)
    reader = theirs.Generator(str(write(tmp_path, model)), inter_threads=1, intra_threads=1)
    rows = [[1, *row] for row in SOURCES]
    results = reader.score_batch([[PIECES[piece] for piece in row] for row in rows])
    for row, result in zip(rows, results, strict=True):
        log_probs = model(torch.tensor([row])).log_softmax(-1)[0]
        wanted = log_probs[torch.arange(len(row) - 1), torch.tensor(row[1:])]
        assert_near(torch.tensor(result.log_probs), wanted, 1e-5)


ENCODERS: list[dict[str, Any]] = [
    {},
    {"block": block(norm_position="pre", norm="rms", activation="swiglu"), "position": "rotary", "n_kv_heads": 2},
    {"block": block(norm_position="post", activation="gelu", attention="qk_norm"), "position": "sinusoidal"},
    {"block": block(norm_position="post", activation="gelu_tanh"), "position": "none"},
]


@torch.no_grad()
@pytest.mark.parametrize("words", ENCODERS, ids=range(len(ENCODERS)))
def test_an_encoder_gives_there_the_states_and_the_pooled_one_from_here(words: dict[str, Any], tmp_path: Path) -> None:
    model = encoder(**words)
    reader = theirs.Encoder(str(write(tmp_path, model)), inter_threads=1, intra_threads=1)
    segments = [[0, 0, 1, 1, 1], [0, 1], [0]]
    found = reader.forward_batch(SOURCES, token_type_ids=segments)
    for number, (row, own) in enumerate(zip(SOURCES, segments, strict=True)):
        states = model(torch.tensor([row]), segments=torch.tensor([own]))
        there = torch.from_numpy(np.asarray(found.last_hidden_state))[number, : len(row)]
        assert_near(there, states[0], 1e-5)
        pooled = torch.from_numpy(np.asarray(found.pooler_output))[number]
        assert_near(pooled, model.pooler(states)[0], 1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("quantize", "near"), [("int8", 0.02), ("int8_float32", 0.02), ("float16", 0.001), ("bfloat16", 0.01)]
)
def test_quantized_weights_are_near_and_smaller(quantize: Quantization, near: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(**SIZES, n_encoder_layers=2, n_decoder_layers=2)
    model = Transformer(config, src_vocab_size=VOCAB, vocab_size=VOCAB).eval()
    before = [parameter.clone() for parameter in model.parameters()]
    sizes = {}
    for kind in ("float32", quantize):
        (tmp_path / kind).mkdir(exist_ok=True)
        sizes[kind] = (write(tmp_path / kind, model, kind) / "model.bin").stat().st_size
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)), "the model is as it was"
    assert sizes[quantize] < (0.4 if "int8" in quantize else 0.6) * sizes["float32"]
    spelled = [[[PIECES[piece] for piece in row] for row in rows] for rows in (SOURCES, TARGETS)]
    # read as float32 the numbers are the stored ones; as int8 they are those that their own conversion stores
    stored, whole = (scores(tmp_path / kind, spelled, "float32") for kind in (quantize, "float32"))
    assert_near(stored, whole, near)
    if "int8" in quantize:
        stored, converted = (scores(tmp_path / kind, spelled, quantize) for kind in (quantize, "float32"))
        assert_near(stored, converted, 1e-6)


def scores(folder: Path, spelled: list[list[list[str]]], kind: str) -> torch.Tensor:
    results = theirs.Translator(str(folder), compute_type=kind).score_batch(*spelled)
    return torch.tensor([score for result in results for score in result.log_probs])


def test_a_tied_table_is_written_once(tmp_path: Path) -> None:
    tied, free = (write(make(tmp_path / tie), translator(tie=tie)) / "model.bin" for tie in ("all", "none"))
    assert free.stat().st_size - tied.stat().st_size > 2 * 4 * VOCAB * SIZES["d_model"] - 1000


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


REFUSED: list[tuple[Exportable, str]] = [
    (translator(block=block(attention="qk_norm")), r"model.block.attention = 'qk_norm': must be 'scaled_dot_product'"),
    (translator(position="alibi"), r"model.position = 'alibi': must be"),
    (translator(block=block(norm="group", norm_groups=2)), r"model.block.norm = 'group': must be"),
    (translator(block=block(activation="softmax")), r"model.block.activation = 'softmax': must be"),
    (translator(block=block(mlp=False)), r"model.block.mlp = False: must be True"),
    (translator(block=block(residual=False)), r"model.block.residual = False: must be True"),
    (language_model(block=block(attention="additive")), r"model.block.attention = 'additive': must be"),
    (encoder(position="alibi"), r"model.position = 'alibi': must be"),
]


@pytest.mark.parametrize(("model", "rule"), REFUSED, ids=[rule.split(" = ")[0] for _, rule in REFUSED])
def test_what_it_cannot_compute_is_refused_by_its_key(model: Exportable, rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        ctranslate2_files(model, {"": PIECES}, ids=SPECIAL_IDS, quantize="float32")
